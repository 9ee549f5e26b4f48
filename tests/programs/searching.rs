//! ripgrep through mappings, and sort with more than its memory holds.

use std::fs;

use crate::bucket::Bucket;
use crate::mounted::Mounted;
use crate::person::write;

crate::on_each_bucket! {
    what_ripgrep_finds_through_mappings,
    what_sort_cannot_hold_in_memory,
}

/// Shows write-3.
fn what_ripgrep_finds_through_mappings(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    fs::create_dir(mounted.person.path("source")).unwrap();
    for file in 0..40_u32 {
        let text: String = (0..file * 400)
            .map(|line| format!("{} of {file}\n", if line % 97 == 3 { "needle" } else { "hay" }))
            .collect();
        write(format!("{}/{file}.txt", mounted.person.path("source")), text.as_bytes());
    }
    mounted.run("cp -a ~/source here && truncate -s 9M here/sparse && printf needle >> here/sparse");
    mounted.run("cp -a --sparse=always here/sparse ~/source/sparse");
    let search = "rg --mmap --sort path -a -n needle";
    let expected = mounted.run(&format!("cd ~/source && {search} | sha256sum"));
    assert!(mounted.run(&format!("cd ~/source && {search} | wc -l")).trim().parse::<u32>().unwrap() > 3000);
    assert_eq!(mounted.run(&format!("cd here && {search} | sha256sum")), expected);
    mounted.is_whole_on_a_fresh_machine();
    mounted.fresh_machine();
    // The first to read these bytes here is a mapping.
    assert_eq!(mounted.run(&format!("cd here && {search} | sha256sum")), expected, "on a fresh machine");
}

/// Shows write-3.
fn what_sort_cannot_hold_in_memory(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    let made = "seq 1 120000 | awk '{ print ($1 * 7919) % 120011, \"a line that is sorted\" }'";
    mounted.run(&format!("{made} > ~/lines && cp ~/lines lines && mkdir between"));
    let time = "stat -c %y between";
    let before = mounted.run(time);
    mounted.run("sort -n --parallel=2 --buffer-size=256K -T between -o sorted lines");
    assert_ne!(mounted.run(time), before, "nothing was written between");
    assert_eq!(mounted.run("ls -A between"), "");
    let check = "sort -c -n sorted && sort -n ~/lines | cmp - sorted && sort -n -u -S 256K -T between -o lines lines && wc -l < lines";
    assert_eq!(mounted.run(check), "120000\n");
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run("cmp sorted lines && wc -l < sorted"), "120000\n");
}
