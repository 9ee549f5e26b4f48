//! What files can be asked to do: mappings, holes, large ones, odd names, attributes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use bayou_test_server::Op;

use crate::bucket::Bucket;
use crate::mounted::{Mounted, rename};
use crate::person::write;
use crate::tree::Tree;

crate::on_each_bucket! {
    files_of_every_kind,
    a_file_of_64_mib,
}
crate::on_moto! { a_file_of_64_mib, }

/// Shows tree-7, tree-12, write-3, write-4.
fn files_of_every_kind(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    names_and_attributes(&mounted);
    holes(&mounted);
    a_shared_mapping(&mounted);
    an_unlinked_file_that_is_open(&mounted);
    folders_that_move(&mounted);
    mounted.run(
        "mkfifo -m 620 pipe && mknod disk b 8 17 && mknod null c 1 3 && chown 12:34 pipe empty-folder
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'",
    );
    assert!(Tree::of(&mounted.path("")).files() > 12);
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(bucket.object("leer/ünï cödé 日本.txt").unwrap(), "grün".as_bytes());
    assert_eq!(mounted.run("stat -c '%a %Y' attributes"), "640 1000000000\n");
    assert_eq!(mounted.run("getfattr --only-values -n user.note attributes"), "kept");
    assert_eq!(mounted.run("stat -c '%F %a %u %g' pipe"), "fifo 620 12 34\n");
    assert_eq!(mounted.run("stat -c '%u %g' empty-folder"), "12 34\n");
    assert_eq!(
        mounted.run("stat -c '%F %t %T' disk null"),
        "block special file 8 11\ncharacter special file 1 3\n"
    );
    assert_eq!(mounted.run("stat -c %F socket"), "socket\n");
    assert_eq!(bucket.object("pipe").unwrap(), b"");
    assert_eq!(mounted.run("stat -c '%a %s' empty-folder empty-file").lines().next_back(), Some("644 0"));
}

fn names_and_attributes(mounted: &Mounted<'_>) {
    fs::create_dir_all(mounted.path("leer")).unwrap();
    fs::create_dir(mounted.path("empty-folder")).unwrap();
    write(mounted.path("leer/ünï cödé 日本.txt"), "grün".as_bytes());
    write(mounted.path("empty-file"), b"");
    for name in ["a b", "a+b", "a%20b", "a?b=c&d", "#a", "'\"`$", "back\\slash", " lead", "trail ", "-dash"] {
        write(mounted.path(name), name.as_bytes());
    }
    write(mounted.path("new\nline\ttab"), b"odd");
    write(mounted.path(&"long".repeat(63)), b"252 bytes of name");
    mounted.run(
        "ln -s 'leer/ünï cödé 日本.txt' link && test \"$(cat link)\" = grün
        ln -s /nowhere/at/all dangling && chmod 1770 empty-folder && chmod 755 empty-folder
        echo kept > attributes && chmod 640 attributes
        setfattr -n user.note -v kept attributes && setfattr -n user.gone -v gone attributes
        setfattr -x user.gone attributes && touch -d @1000000000 attributes",
    );
}

fn holes(mounted: &Mounted<'_>) {
    let file = File::create(mounted.path("holes")).unwrap();
    file.write_all_at(b"middle", 3_000_000).unwrap();
    file.set_len(5_000_000).unwrap();
    file.write_all_at(b"end", 6_000_000).unwrap();
    let mut expected = vec![0; 6_000_003];
    expected[3_000_000..3_000_006].copy_from_slice(b"middle");
    expected[6_000_000..].copy_from_slice(b"end");
    assert!(fs::read(mounted.path("holes")).unwrap() == expected);
    file.set_len(3_000_003).unwrap();
    file.set_len(4_000_000).unwrap();
    expected.truncate(3_000_003);
    expected.resize(4_000_000, 0);
    assert!(fs::read(mounted.path("holes")).unwrap() == expected);
}

/// Changes a file through a mapping that is shared, as databases and linkers do.
fn a_shared_mapping(mounted: &Mounted<'_>) {
    write(mounted.path("mapped"), &[b'.'; 100_000]);
    let script = "import mmap
with open('mapped', 'r+b') as file, mmap.mmap(file.fileno(), 0) as map:
    map[10:15] = b'early'
    map[90000:90004] = b'late'
    map.flush()
    map[50000:50003] = b'mid'
assert open('mapped', 'rb').read()[50000:50003] == b'mid'";
    write(mounted.person.path("map.py"), script.as_bytes());
    mounted.run("python3 ~/map.py");
    let bytes = fs::read(mounted.path("mapped")).unwrap();
    assert_eq!((&bytes[10..15], &bytes[90_000..90_004]), (&b"early"[..], &b"late"[..]));
}

fn an_unlinked_file_that_is_open(mounted: &Mounted<'_>) {
    let path = mounted.path("unlinked");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all(b"still ").unwrap();
    fs::remove_file(&path).unwrap();
    write(&path, b"another file of that name");
    file.write_all(b"here").unwrap();
    file.sync_all().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
    assert_eq!(fs::read(&path).unwrap(), b"another file of that name");
}

fn folders_that_move(mounted: &Mounted<'_>) {
    fs::create_dir_all(mounted.path("from/here")).unwrap();
    for n in 0..20 {
        write(mounted.path(&format!("from/here/{n}")), format!("{n}").as_bytes());
    }
    mounted.run("sync from/here/7");
    rename(&mounted.path("from"), &mounted.path("to")).unwrap();
    assert_eq!(fs::read(mounted.path("to/here/7")).unwrap(), b"7");
    mounted.run("sync to to/here/7");
    assert_eq!(mounted.bucket.object("to/here/7").unwrap(), b"7");
}

fn a_file_of_64_mib(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    let bytes: Vec<u8> =
        (0..16_u32 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    write(mounted.path("large file"), &bytes);
    mounted.run("sync 'large file'");
    assert!(bucket.object("large file").unwrap() == bytes);
    if let Bucket::Strict(server) = bucket {
        let requests = server.requests();
        let sent =
            |op: Op| requests.iter().filter(|sent| sent.op == op && sent.key.ends_with("large file")).count();
        assert_eq!((sent(Op::CreateMultipartUpload), sent(Op::CompleteMultipartUpload)), (1, 1));
        assert!(sent(Op::UploadPart) > 1);
        assert!(server.uploads("bucket").is_empty());
    }
    mounted.fresh_machine();
    let file = OpenOptions::new().read(true).write(true).open(mounted.path("large file")).unwrap();
    let mut part = [0; 10];
    file.read_exact_at(&mut part, 40_000_001).unwrap();
    assert_eq!(part, bytes[40_000_001..40_000_011]);
    file.write_all_at(b"changed", 30_000_000).unwrap();
    drop(file);
    mounted.is_whole_on_a_fresh_machine();
    let mut expected = bytes;
    expected[30_000_000..30_000_007].copy_from_slice(b"changed");
    assert!(fs::read(mounted.path("large file")).unwrap() == expected);
}
