//! Who this process is to others: a user on a machine.
//!
//! What it writes into a bucket for people to read is named after these.

/// Returns the name of the user, as the environment says; `unknown` if it does not.
pub fn user_name() -> String {
    let named = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    named("USER").or_else(|| named("USERNAME")).unwrap_or_else(|| "unknown".to_owned())
}

/// Returns the name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
