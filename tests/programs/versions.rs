//! git: a clone of more than 500 files, commits, merges, gc, and `status` after a remount.

use std::fs;
use std::path::Path;

use crate::bucket::Bucket;
use crate::mounted::Mounted;
use crate::person::write;

crate::on_each_bucket! { a_repository_can_live_in_a_mount, }
crate::on_moto! { a_repository_can_live_in_a_mount, }

/// Makes a repository of 530 files that is not in the mount.
fn make_source(mounted: &Mounted<'_>) {
    let root = mounted.person.path("source");
    for folder in 0..26 {
        let folder = Path::new(&root).join(format!("src/part {folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..20 {
            let text = format!("file {file} of {}\n", folder.display()).repeat(1 + file * 7);
            write(folder.join(format!("näme-{file}.txt")), text.as_bytes());
        }
    }
    mounted.run(
        "cd ~/source
        git config --global user.name Somebody
        git config --global user.email somebody@example.com
        git config --global init.defaultBranch main
        ln -s 'src/part 1' first && printf '#!/bin/sh\\n' > run && chmod +x run
        head -c 3000000 /dev/urandom > blob
        git init -q . && git add -A && git commit -qm one
        echo more >> run && git commit -qam two",
    );
}

fn a_repository_can_live_in_a_mount(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    make_source(&mounted);
    mounted.run("git clone -q ~/source repository");
    let files = mounted.run("cd repository && git ls-files | wc -l");
    assert!(files.trim().parse::<u32>().unwrap() >= 500, "{files}");
    mounted.run(
        "cd repository
        git checkout -q -b topic
        echo changed >> 'src/part 3/näme-3.txt' && git rm -q 'src/part 4/näme-4.txt'
        git mv 'src/part 5' src/moved && git commit -qam topic
        git checkout -q main && echo other > other && git add other && git commit -qm other
        git merge -q topic -m merged && git stash list && git gc -q && git fsck --full --strict",
    );
    assert_eq!(mounted.run("cd repository && git status --porcelain"), "");
    mounted.remount();
    assert_eq!(mounted.run("cd repository && git status --porcelain"), "", "after a remount");
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run("cd repository && git status --porcelain"), "", "on a fresh machine");
    mounted.run("cd repository && git fsck --full --strict");
    assert_eq!(mounted.run("cd repository && git log --oneline | wc -l").trim(), "5");
}
