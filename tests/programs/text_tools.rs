//! find, grep, sed, sort, and shells that append at the same time.

use std::fs;

use crate::bucket::Bucket;
use crate::mounted::Mounted;
use crate::person::write;

crate::on_each_bucket! { what_text_tools_find_and_change, }

/// Shows write-3.
fn what_text_tools_find_and_change(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    for folder in 0..10 {
        let folder = mounted.path(&format!("notes/{folder}/of the day"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..10 {
            let needle = if file == 7 { "needle\n" } else { "" };
            write(folder.join(format!("note {file}.txt")), format!("hay\n{needle}hay {file}\n").as_bytes());
        }
    }
    mounted.fresh_machine();
    assert_eq!(mounted.run("find . -type f -name '*.txt' | wc -l").trim(), "100");
    assert_eq!(mounted.run("grep -r -l needle . | wc -l").trim(), "10");
    mounted.run(
        "grep -r -l -Z needle notes | xargs -0 sed -i 's/needle/pin/'
        find notes -name 'note 3.txt' -delete
        find notes -name 'note 4.txt' -execdir mv {} renamed.txt \\;
        find notes -name 'note 5.txt' -exec truncate -s 2 {} +
        sort -o notes/sorted notes/*/of\\ the\\ day/renamed.txt",
    );
    mounted.run(
        "for who in a b; do
            (for n in $(seq 1 500); do echo \"$who $n of a line that is not cut in two\"; done >> log) &
        done
        wait",
    );
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(
        mounted.run("grep -r pin notes | wc -l; { grep -r needle notes || true; } | wc -l"),
        "10\n0\n"
    );
    assert_eq!(mounted.run("find notes -type f | wc -l").trim(), "91");
    assert_eq!(mounted.run("wc -l < notes/sorted").trim(), "20");
    let whole = "grep -c -E '^[ab] [0-9]+ of a line that is not cut in two$' log; wc -l < log";
    assert_eq!(mounted.run(whole), "1000\n1000\n");
}
