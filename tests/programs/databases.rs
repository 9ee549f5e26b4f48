//! SQLite, with a rollback journal and with a write-ahead log, which is a shared mapping.

use crate::bucket::Bucket;
use crate::mounted::Mounted;

crate::on_each_bucket! {
    a_database_with_a_rollback_journal,
    a_database_with_a_write_ahead_log,
}
crate::on_one_bucket! {
    what_the_speed_test_does_with_a_rollback_journal,
    what_the_speed_test_does_with_a_write_ahead_log,
}
crate::on_moto! { a_database_with_a_rollback_journal, }

fn a_database_with_a_rollback_journal(bucket: &Bucket) {
    a_database(bucket, "delete");
}

fn a_database_with_a_write_ahead_log(bucket: &Bucket) {
    a_database(bucket, "wal");
}

fn a_database(bucket: &Bucket, journal: &str) {
    let mut mounted = Mounted::new(bucket, &[]);
    let said = mounted.run(&format!(
        "sqlite3 -bail db <<'SQL'
        PRAGMA journal_mode = {journal};
        CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT UNIQUE);
        WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 5000)
          INSERT INTO t SELECT n, 'row ' || n || hex(randomblob(40)) FROM up;
        BEGIN; UPDATE t SET text = 'changed ' || n WHERE n % 3 = 0; COMMIT;
        BEGIN; DELETE FROM t; ROLLBACK;
        DELETE FROM t WHERE n % 5 = 0;
        PRAGMA integrity_check;
SQL"
    ));
    assert_eq!(said, format!("{journal}\nok\n"));
    // Two processes at once: locks of one machine hold.
    mounted.run(
        "insert() {
            for n in 1 2 3 4; do echo \"INSERT INTO t(text) VALUES ('$1$n');\"; done |
                sqlite3 -bail -cmd '.timeout 60000' db
        }
        insert a & first=$!
        insert b && wait $first",
    );
    let check = "sqlite3 db 'SELECT count(*) FROM t; PRAGMA integrity_check'";
    assert_eq!(mounted.run(check), "4008\nok\n");
    mounted.remount();
    assert_eq!(mounted.run(check), "4008\nok\n", "after a remount");
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run(check), "4008\nok\n", "on a fresh machine");
}

fn what_the_speed_test_does_with_a_rollback_journal(bucket: &Bucket) {
    the_speed_test(bucket, "delete");
}

fn what_the_speed_test_does_with_a_write_ahead_log(bucket: &Bucket) {
    the_speed_test(bucket, "wal");
}

/// The kinds of work of SQLite's own speed test (`test/speedtest1.c`, main test set), which no
/// package brings: inserts with and without indexes and in order, searches, an ORDER BY, updates
/// and deletes by range and by row, refills, joins, and vacuum. The database comes to the same
/// as one that was never in a mount.
fn the_speed_test(bucket: &Bucket, journal: &str) {
    let mut mounted = Mounted::new(bucket, &[]);
    let up = "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 20000)";
    let script = format!(
        "PRAGMA journal_mode = {journal}; PRAGMA cache_size = 100;
        BEGIN; CREATE TABLE t1(a INTEGER, b INTEGER, c TEXT);
        {up} INSERT INTO t1 SELECT (n * 7919) % 20011, n, 'number ' || n FROM up; COMMIT;
        BEGIN; CREATE TABLE t2(a INTEGER, b INTEGER, c TEXT); CREATE INDEX t2b ON t2(b);
        {up} INSERT INTO t2 SELECT n, (n * 7919) % 20011, 'number ' || n FROM up; COMMIT;
        BEGIN; CREATE TABLE t3(a INTEGER PRIMARY KEY, b INTEGER UNIQUE, c TEXT);
        {up} INSERT INTO t3 SELECT n, (n * 7919) % 20011, 'number ' || n FROM up; COMMIT;
        SELECT count(*), avg(b) FROM t1 WHERE b BETWEEN 100 AND 9000;
        SELECT count(*) FROM t1 WHERE c LIKE '%99%';
        SELECT sum(a) FROM (SELECT a FROM t1 ORDER BY c DESC LIMIT 500);
        CREATE INDEX t1a ON t1(a); CREATE INDEX t1c ON t1(c);
        BEGIN; UPDATE t2 SET b = b + 5 WHERE b BETWEEN 3000 AND 9000; COMMIT;
        BEGIN; UPDATE t3 SET c = c || ' changed' WHERE a % 7 = 3; COMMIT;
        BEGIN; INSERT INTO t1 SELECT b, a, c FROM t1; DELETE FROM t1 WHERE a % 3 = 1; COMMIT;
        BEGIN; DELETE FROM t2 WHERE b BETWEEN 50 AND 400; INSERT INTO t2 SELECT a, b, c FROM t3; COMMIT;
        BEGIN; DELETE FROM t2; INSERT INTO t2 SELECT a, b, c FROM t3; ROLLBACK;
        SELECT count(*), sum(length(t2.c)) FROM t1, t2, t3 WHERE t1.a = t2.b AND t2.a = t3.a;
        VACUUM; ANALYZE; PRAGMA integrity_check;"
    );
    crate::person::write(mounted.person.path("script"), script.as_bytes());
    let expected = mounted.run("sqlite3 -bail ~/beside < ~/script");
    assert!(expected.starts_with(journal) && expected.ends_with("\nok\n"), "{expected}");
    assert_eq!(mounted.run("sqlite3 -bail db < ~/script"), expected);
    // Many small transactions, each with its own fsync; --fsync=local would be the quick way.
    let small = "for n in $(seq 40); do echo \"INSERT INTO t1 VALUES($n, -$n, 'small');\"; done";
    mounted.run(&format!("{small} | sqlite3 -bail db && {small} | sqlite3 -bail ~/beside"));
    let same = "[ \"$(sqlite3 ~/beside .dump | sha256sum)\" = \"$(sqlite3 db .dump | sha256sum)\" ]";
    mounted.run(same);
    mounted.is_whole_on_a_fresh_machine();
    mounted.run(&format!("{same} && sqlite3 db 'PRAGMA integrity_check' | grep -x ok"));
}
