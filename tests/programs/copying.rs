//! tar, cp and rsync: trees that come and go as a whole.

use std::fs;
use std::path::Path;

use crate::bucket::Bucket;
use crate::mounted::Mounted;
use crate::person::write;

crate::on_each_bucket! {
    a_tree_that_tar_unpacks_and_cp_copies,
    a_tree_that_rsync_brings_twice,
}
crate::on_moto! { a_tree_that_tar_unpacks_and_cp_copies, }

/// Makes a tree of all that such programs carry, outside of the mount.
fn make_source(mounted: &Mounted<'_>) {
    let root = mounted.person.path("source");
    for folder in ["", "a", "a/deep/er", "b with spaces", "ünïcode/日本"] {
        let folder = Path::new(&root).join(folder);
        fs::create_dir_all(&folder).unwrap();
        for file in 0..12 {
            write(folder.join(format!("file {file}")), &vec![b'x'; file * 1111]);
        }
    }
    mounted.run(
        "cd ~/source
        mkdir -p empty/nested && chmod 750 empty/nested && chmod 700 a
        ln -s ../a/deep 'b with spaces/link' && ln -s nowhere dangling
        chmod 600 'file 1' && chmod 755 'file 2' && chmod 444 'file 3'
        touch -d '2001-02-03 04:05:06.123456789' 'file 4'
        touch -d '1969-12-31 23:59:58.5 UTC' 'file 5'
        setfattr -n user.colour -v blue 'file 6'",
    );
}

fn a_tree_that_tar_unpacks_and_cp_copies(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    make_source(&mounted);
    mounted.run(
        "tar -C ~/source --xattrs -cf ~/source.tar .
        mkdir unpacked && tar -C unpacked --xattrs -xf ~/source.tar
        cp -a ~/source copied && cp -a copied copied-again && mv copied-again moved
        rm -r copied",
    );
    let compare = "for copy in unpacked moved; do
            diff -r --no-dereference ~/source $copy
            (cd $copy && tar -df ~/source.tar 2>&1 | { grep -v '/: Mod time differs$' || true; })
        done";
    assert_eq!(mounted.run(compare), "");
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run(compare), "", "on a fresh machine");
    assert_eq!(mounted.run("getfattr --only-values -n user.colour 'moved/file 6'"), "blue");
    assert_eq!(bucket.object("moved/b with spaces/link").unwrap(), b"../a/deep");
    assert_eq!(bucket.object("copied/file 1"), None);
}

fn a_tree_that_rsync_brings_twice(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    make_source(&mounted);
    let bring = "rsync -aX --itemize-changes ~/source/ brought/";
    assert!(mounted.run(bring).lines().count() > 60);
    assert_eq!(mounted.run(bring), "", "the second run brings nothing");
    mounted.is_whole_on_a_fresh_machine();
    // Times of folders stay on the machine where they were set.
    let again = mounted.run(&format!("{bring} --omit-dir-times"));
    assert_eq!(again, "", "a fresh machine brings nothing");
    // rsync takes a file that changed within the same second for one of the same time.
    mounted.run(
        "echo changed > ~/source/a/'file 1' && touch -d '2002-03-04 05:06:07' ~/source/a/'file 1'
        rm ~/source/a/'file 2'",
    );
    let changes = mounted.run(&format!("{bring} --omit-dir-times --delete"));
    assert_eq!(changes, "*deleting   a/file 2\n>f.st...... a/file 1\n");
    let back = "rsync -rlpt brought/ ~/back && diff -r --no-dereference brought ~/back";
    assert_eq!(mounted.run(back), "");
}
