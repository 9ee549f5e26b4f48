//! How many files this process may have open.
//!
//! Shells begin with 1,024, which a mount that reads a thousand small files needs for their
//! content alone. The limit is raised as far as the system lets us; a refusal changes nothing.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files to what may be had without privileges.
pub fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    if now.current != now.maximum
        && let Err(refused) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(error = %refused, "The limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_may_be_had() {
        let before = getrlimit(Resource::Nofile);
        raise_limit();
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
    }
}
