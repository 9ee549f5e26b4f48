//! The words of an error and of what caused it.

use std::error::Error;

/// Returns the messages of an error and of what caused it on one line, without repetitions.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut messages = vec![one_line(error)];
    let mut next = error.source();
    while let Some(cause) = next {
        let message = one_line(cause);
        if !messages.iter().any(|said| said.contains(&message)) {
            messages.push(message);
        }
        next = cause.source();
    }
    messages.join(": ")
}

fn one_line(error: &dyn Error) -> String {
    let message = error.to_string();
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
