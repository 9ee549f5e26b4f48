//! tar, cp and rsync: trees that come and go as a whole.

use std::fs;
use std::path::Path;

use crate::bucket::Bucket;
use crate::mounted::Mounted;
use crate::person::write;
use crate::tree::Tree;

crate::on_each_bucket! {
    a_tree_that_tar_unpacks_and_cp_copies,
    a_tree_that_rsync_brings_twice,
    trees_that_rsync_keeps_the_same_both_ways,
    an_archive_with_links_and_holes,
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

/// Makes what only careful programs carry as it is: names of one file, and holes.
fn make_links_and_holes(mounted: &Mounted<'_>) {
    mounted.run(
        "cd ~/source
        ln 'file 7' 'a/file 7 again' && ln 'file 7' 'b with spaces/and again'
        truncate -s 20M sparse && printf middle | dd of=sparse bs=1 seek=9000000 conv=notrunc status=none
        truncate -s 3M all-hole && mkfifo pipe && chown 12:34 'file 8'",
    );
}

/// Shows tree-7, tree-13, write-7.
fn an_archive_with_links_and_holes(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    make_source(&mounted);
    make_links_and_holes(&mounted);
    mounted.run("tar -C ~/source --xattrs --sparse -cf ~/source.tar . && mkdir unpacked");
    mounted.run("tar -C unpacked --xattrs --sparse -xpf ~/source.tar");
    let beside = mounted.person.path("source");
    let beside = Path::new(&beside);
    Tree::of(beside).is_equal(&Tree::of(&mounted.path("unpacked")));
    let links = "stat -c %h 'unpacked/file 7'; [ 'unpacked/file 7' -ef 'unpacked/b with spaces/and again' ]";
    assert_eq!(mounted.run(links), "3\n");
    mounted.is_whole_on_a_fresh_machine();
    Tree::of(beside).is_equal(&Tree::of(&mounted.path("unpacked")));
    assert_eq!(mounted.run(links), "3\n", "on a fresh machine");
    mounted.run("tar -C unpacked --xattrs --sparse -cf out.tar . && mkdir ~/back && tar -C ~/back --xattrs -xpf out.tar");
    Tree::of(beside).is_equal(&Tree::of(Path::new(&mounted.person.path("back"))));
    assert_eq!(mounted.run("stat -c %h ~/back/'file 7'"), "3\n");
    let small = "[ $(stat -c %s out.tar) -lt 26000000 ] && tar -df out.tar -C ~/source 2>&1";
    assert_eq!(mounted.run(&format!("{small} | {{ grep -v '/: Mod time differs$' || true; }}")), "");
}

/// Shows tree-7, tree-13.
fn trees_that_rsync_keeps_the_same_both_ways(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    make_source(&mounted);
    make_links_and_holes(&mounted);
    let beside = mounted.person.path("source");
    let beside = Path::new(&beside);
    let there = "rsync -aHXS --delete ~/source/ brought/";
    mounted.run(there);
    Tree::of(beside).is_equal(&Tree::of(&mounted.path("brought")));
    mounted.run(
        "cd brought
        rm -r a 'file 2' && mv 'b with spaces' moved && echo new > new && mkdir -p more/deep && echo x > more/deep/x
        ln new more/new-too && touch -d '2003-04-05 06:07:08.000000009' 'file 1' && chmod 600 'file 9'
        setfattr -n user.shape -v round new && rm dangling && ln -s elsewhere dangling",
    );
    mounted.is_whole_on_a_fresh_machine();
    mounted.run("rsync -aHXS --delete brought/ ~/source/");
    Tree::of(beside).is_equal(&Tree::of(&mounted.path("brought")));
    mounted.run("cd ~/source && rm -r more && rm 'file 10' && echo longer than before > new && ln new third");
    mounted.run(there);
    Tree::of(beside).is_equal(&Tree::of(&mounted.path("brought")));
    mounted.is_whole_on_a_fresh_machine();
    Tree::of(beside).is_equal(&Tree::of(&mounted.path("brought")));
    let again = mounted.run("rsync -aHXS --delete --omit-dir-times --itemize-changes ~/source/ brought/");
    assert_eq!(again, "", "nothing is left to do");
}
