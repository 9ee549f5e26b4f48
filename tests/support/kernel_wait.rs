//! Whether an announcement to the kernel waits for a request that is being answered.

/// How `/proc` cuts the name of the thread that announces.
const ANNOUNCER: &str = "bayou-invalidat";

/// Returns whether the thread that announces changes is inside the kernel and cannot go on.
pub(crate) fn an_announcement_waits() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    // "pid (name) state …"; D is a sleep that nothing interrupts.
    stats.into_iter().any(|stat| stat.contains(&format!("({ANNOUNCER}) D ")))
}
