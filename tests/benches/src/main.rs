//! Runs one hot path for a tool that counts instructions: `hot-paths NAME` prints how often.
//! Without a name it prints the names.

use std::process::ExitCode;

use bayou_benches::counted;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        say(&counted::NAMES.join("\n"));
        return ExitCode::SUCCESS;
    };
    let Some(path) = counted::prepare(&name) else {
        say(&format!("No hot path is called {name}"));
        return ExitCode::FAILURE;
    };
    counted::run(&path);
    say(&path.times.to_string());
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_macros, reason = "a program for scripts")]
fn say(text: &str) {
    println!("{text}");
}
