//! How editors save: over a copy that is renamed, and over the file itself.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use crate::bucket::Bucket;
use crate::mounted::{Mounted, rename};
use crate::person::write;

crate::on_each_bucket! {
    what_editors_save,
    what_emacs_saves,
    what_vs_code_saves,
}

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

/// As many do: cut to nothing, written again, and fsync.
fn saved_in_place(mounted: &Mounted<'_>, name: &str) {
    for text in ["a text that is longer than what was there before, by a bit", "short", "shorter"] {
        let mut file = OpenOptions::new().write(true).truncate(true).open(mounted.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
    }
}

/// With a lock (a link to nowhere), auto-saving, and a backup that is the old file, a copy of it,
/// or none because the new file is renamed over it.
fn what_emacs_saves(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    for name in ["moved", "copied", "precious"] {
        write(mounted.path(&format!("{name}.txt")), b"the first line\n");
    }
    let script = "(progn
        (setq backup-enable-predicate (lambda (name) t) make-backup-files t auto-save-default t create-lockfiles t vc-handled-backends nil)
        (dolist (way '((\"moved\" nil nil) (\"copied\" t nil) (\"precious\" nil t)))
          (setq backup-by-copying (nth 1 way) file-precious-flag (nth 2 way) name (concat (car way) \".txt\"))
          (find-file name)
          (goto-char (point-max)) (insert (car way) \" by emacs\\n\")
          (auto-save-mode 1) (do-auto-save t)
          (princ (format \"%s %s \" (if (file-symlink-p (concat \".#\" name)) 'locked 'free)
                         (if (file-exists-p (concat \"#\" name \"#\")) 'auto-saved 'lost)))
          (save-buffer)
          (princ (format \"%s\\n\" (if (file-symlink-p (concat \".#\" name)) 'locked 'free)))))";
    write(mounted.person.path("save.el"), script.as_bytes());
    let said = mounted.run("emacs -Q --batch -l ~/save.el 2>/dev/null");
    assert_eq!(said, "locked auto-saved free\n".repeat(3));
    let check = "ls -A; cat moved.txt copied.txt precious.txt moved.txt~";
    let expected = "copied.txt\ncopied.txt~\nmoved.txt\nmoved.txt~\nprecious.txt\nprecious.txt~\n\
        the first line\nmoved by emacs\nthe first line\ncopied by emacs\n\
        the first line\nprecious by emacs\nthe first line\n";
    assert_eq!(mounted.run(check), expected);
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run(check), expected, "on a fresh machine");
}

/// As `src/vs/platform/files/node/diskFileSystemProvider.ts` of microsoft/vscode does: a save
/// opens with `w` (which cuts), writes all of it, and calls fdatasync before it closes; one that
/// is to be atomic does so to a name beside it and renames that; what is not writable is made so.
fn what_vs_code_saves(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    let script = "
const fs = require('fs').promises
async function write(path, text) {
    const file = await fs.open(path, 'w')
    const bytes = Buffer.from(text)
    let at = 0
    while (at < bytes.length) at += (await file.write(bytes, at, bytes.length - at, null)).bytesWritten
    await file.datasync()
    await file.close()
}
async function writeAtomically(path, text) {
    await write(path + '.vsctmp', text)
    await fs.rename(path + '.vsctmp', path)
}
async function unlock(path) {
    const { mode } = await fs.stat(path)
    if (!(mode & 0o200)) await fs.chmod(path, mode | 0o200)
}
(async () => {
    for (const length of [300000, 10, 5000, 0, 70000]) {
        await write('plain', 'p'.repeat(length))
        await writeAtomically('atomic', 'a'.repeat(length))
        await unlock('locked')
        await write('locked', 'l'.repeat(length))
        await fs.chmod('locked', 0o444)
        for (const [name, byte] of [['plain', 'p'], ['atomic', 'a'], ['locked', 'l']])
            if (await fs.readFile(name, 'utf8') !== byte.repeat(length)) throw new Error(name)
    }
})()
";
    write(mounted.person.path("save.js"), script.as_bytes());
    write(mounted.path("locked"), b"to be unlocked");
    mounted.run("chmod 444 locked && node ~/save.js");
    // They were fsynced under these names: another client reads them already.
    for (name, byte) in [("plain", b'p'), ("locked", b'l')] {
        assert!(bucket.object(name).unwrap() == vec![byte; 70_000], "{name}");
    }
    mounted.is_whole_on_a_fresh_machine();
    assert!(bucket.object("atomic").unwrap() == vec![b'a'; 70_000]);
    assert_eq!(mounted.run("ls -A && stat -c %a locked"), "atomic\nlocked\nplain\n444\n");
}
