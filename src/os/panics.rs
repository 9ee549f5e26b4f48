//! What a panic said, for whoever catches it.

use std::any::Any;

/// Returns the message of a panic.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it left no message")
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn the_message_is_found_whatever_its_kind() {
        let said = |panic: Box<dyn Any + Send>| message(&*panic).to_owned();
        assert_eq!(said(catch_unwind(|| panic!("fixed")).unwrap_err()), "fixed");
        assert_eq!(said(catch_unwind(|| panic!("made of {}", 1)).unwrap_err()), "made of 1");
        assert_eq!(said(Box::new(1)), "it left no message");
    }
}
