//! The searched files, beside what they import, and the searches.

#[expect(dead_code, reason = "it is written for the library")]
#[path = "../../src/cache/flights.rs"]
mod flights;
#[expect(dead_code, unreachable_pub, reason = "it is written for the library")]
#[path = "../../src/cache/watermark.rs"]
mod watermark;

mod readers;
mod writers;

use bayou::cache::rows;
