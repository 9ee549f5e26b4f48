//! git: a clone of more than 500 files, commits, merges, gc, and `status` after a remount.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bayou_test_server::Op;

use crate::bucket::Bucket;
use crate::mounted::Mounted;
use crate::person::write;

crate::on_each_bucket! { a_repository_can_live_in_a_mount, }
crate::on_one_bucket! { branches_that_are_rebased_again_and_again, }
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

/// The same work in the mount and beside it comes to the same commit.
fn branches_that_are_rebased_again_and_again(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    make_source(&mounted);
    let work = "git clone -q ~/source $WHERE && cd $WHERE
        export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
        for round in 1 2 3 4 5 6; do
            git checkout -q -b topic-$round
            for n in 1 2 3; do
                echo $round $n >> 'src/part 1/näme-1.txt' && echo $round > new-$round-$n
                git add -A && git commit -qm topic-$round-$n
            done
            git checkout -q main && echo $round >> 'src/part 2/näme-2.txt' && git commit -qam main-$round
            git rebase -q main topic-$round && git checkout -q main && git merge -q --ff-only topic-$round
            git branch -q -d topic-$round && git gc -q --prune=now && git fsck --full --strict >/dev/null
        done
        git commit -q --amend -m last && git reset -q --hard HEAD~2 && git status --porcelain && git rev-parse HEAD";
    let there = mounted.run(&format!("WHERE=~/beside; {work}"));
    let here = mounted.run(&format!("WHERE=repository; {work}"));
    assert_eq!(here, there);
    let same = "diff -r --no-dereference -x .git ~/beside repository";
    assert_eq!(mounted.run(same), "");
    mounted.is_whole_on_a_fresh_machine();
    let stands = mounted.run("cd repository && git status --porcelain && git rev-parse HEAD");
    assert_eq!(stands, there, "on a fresh machine");
    mounted.run(&format!("{same} && cd repository && git fsck --full --strict"));
}

/// Of all that git makes, locks, renames and removes, only what is there in the end is sent, each
/// file once, and the index is written once.
#[test]
fn what_git_makes_on_its_way_is_never_sent() {
    let bucket = Bucket::strict();
    let Bucket::Strict(server) = &bucket else { unreachable!("it was made so") };
    let mounted = Mounted::new(&bucket, &["--write-back=1h", "--refresh=0"]);
    server.reset_counts();
    mounted.run(
        "git config --global user.name Somebody && git config --global user.email somebody@example.com
        git init -q . && git config core.fsync none
        for n in $(seq 20); do
            echo $n > file-$n && echo $n >> log && git add -A && git commit -qm $n
        done
        git status --porcelain",
    );
    assert_eq!(server.requests(), []);
    let files = mounted.run("find . -type f -printf '%P\\n'");
    mounted.person.run(&["sync", &mounted.person.path("mnt")]);
    let sent: Vec<_> = server.requests().into_iter().filter(|sent| sent.op == Op::PutObject).collect();
    let key = |sent: &str| sent.strip_prefix("some/prefix/").unwrap_or_default().to_owned();
    let is_data = |key: &String| !key.starts_with(".datastore") && !key.starts_with("_");
    let data: Vec<String> = sent.iter().map(|sent| key(&sent.key)).filter(is_data).collect();
    assert_eq!(data.len(), files.lines().count(), "{data:?}");
    assert_eq!(data.into_iter().collect::<BTreeSet<_>>(), files.lines().map(str::to_owned).collect());
    assert_eq!(sent.iter().filter(|sent| sent.key.ends_with("index.json")).count(), 1);
}
