//! How editors save: over a copy that is renamed, and over the file itself.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use crate::bucket::Bucket;
use crate::mounted::{Mounted, rename};
use crate::person::write;

crate::on_each_bucket! { what_editors_save, }

/// Shows write-3.
fn what_editors_save(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    for name in ["renamed", "truncated", "by vim.txt", "by sed"] {
        write(mounted.path(name), b"the first line\nthe second line\n");
    }
    mounted.remount();
    saved_by_rename(&mounted, "renamed");
    saved_in_place(&mounted, "truncated");
    mounted.run(
        "for copy in no yes auto; do
            vim -es -N -u NONE --cmd 'set directory=. backupskip= fsync backup' -c \"set backupcopy=$copy\" \\
                -c \"normal Go$copy\" -c 'wq' 'by vim.txt'
        done
        rm 'by vim.txt~'
        sed -i 's/first/only/; 2d' 'by sed'",
    );
    assert_eq!(bucket.object("renamed").unwrap(), b"saved 2");
    assert_eq!(bucket.object("truncated").unwrap(), b"shorter");
    let saved = fs::read_to_string(mounted.path("by vim.txt")).unwrap();
    assert_eq!(saved, "the first line\nthe second line\nno\nyes\nauto\n");
    assert_eq!(fs::read_to_string(mounted.path("by sed")).unwrap(), "the only line\n");
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run("ls -A"), "by sed\nby vim.txt\nrenamed\ntruncated\n");
}

/// As vim does: a file that must not exist, the old one as a backup, the new one with fsync.
fn saved_by_rename(mounted: &Mounted<'_>, name: &str) {
    for round in 0..3 {
        let probe = mounted.path("4913");
        drop(OpenOptions::new().write(true).create_new(true).open(&probe).unwrap());
        fs::remove_file(&probe).unwrap();
        let (target, temporary) = (mounted.path(name), mounted.path("renamed.tmp"));
        let mut file = File::create(&temporary).unwrap();
        write!(file, "saved {round}").unwrap();
        file.sync_all().unwrap();
        rename(&temporary, &target).unwrap();
        File::open(mounted.path("")).unwrap().sync_all().unwrap();
    }
}

/// As VS Code does: cut to nothing, written again, and fsync.
fn saved_in_place(mounted: &Mounted<'_>, name: &str) {
    for text in ["a text that is longer than what was there before, by a bit", "short", "shorter"] {
        let mut file = OpenOptions::new().write(true).truncate(true).open(mounted.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
    }
}
