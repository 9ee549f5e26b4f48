//! SQLite, with a rollback journal and with a write-ahead log, which is a shared mapping.

use crate::bucket::Bucket;
use crate::mounted::Mounted;

crate::on_each_bucket! {
    a_database_with_a_rollback_journal,
    a_database_with_a_write_ahead_log,
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
