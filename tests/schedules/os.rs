//! The ground floor as the searched files see it: the real one, but others may go on while a
//! file is replaced, and a replacement may fail.

pub(crate) use bayou::os::{clock, crash_point};

pub(crate) mod durable_file {
    use std::cell::Cell;
    use std::io;
    use std::path::Path;

    use bayou::os::durable_file as real;
    use shuttle::thread::yield_now;

    pub(crate) use bayou::os::durable_file::sync_folder_of;

    /// A replacement that fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// This one from now, counted from 0; the old file is there.
        Before(usize),
        /// This one from now; the new file is in its place.
        After(usize),
    }

    thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Has one of the next replacements fail. All of a search is on one thread.
    pub(crate) fn fail(fault: Option<Fault>) {
        FAULT.set(fault);
    }

    pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
        yield_now();
        let fault = FAULT.get();
        FAULT.set(fault.and_then(Fault::later));
        if fault == Some(Fault::Before(0)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        real::replace(path, bytes)?;
        yield_now();
        if fault == Some(Fault::After(0)) { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }

    impl Fault {
        fn later(self) -> Option<Self> {
            match self {
                Self::Before(n) => n.checked_sub(1).map(Self::Before),
                Self::After(n) => n.checked_sub(1).map(Self::After),
            }
        }
    }
}
