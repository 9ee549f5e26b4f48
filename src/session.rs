//! One of everything, once: what a mount or a sync is made of.
//!
//! [`options`] is what people can ask for, already parsed; [`folders`] is where it is kept.

pub mod folders;
pub mod options;
