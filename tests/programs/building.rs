//! cargo, make, Python's packages and node's: trees of small files whose times decide what is
//! built again.

use crate::bucket::Bucket;
use crate::mounted::Mounted;

crate::on_one_bucket! {
    a_crate_that_cargo_builds_is_fresh_everywhere,
    what_make_built_is_up_to_date_everywhere,
    a_python_environment_with_a_wheel,
    what_npm_installs_from_a_file,
}

/// The rust of this test, whose home is not the person's.
fn cargo() -> String {
    let cargo = std::path::Path::new(env!("CARGO"));
    let rustc = cargo.with_file_name("rustc");
    format!("export RUSTC='{}'; cargo() {{ '{}' \"$@\"; }}", rustc.display(), cargo.display())
}

/// Its second build compiles nothing, also on a machine that has just fetched `target`: the times
/// are the same to the nanosecond, and what was linked is still one file.
fn a_crate_that_cargo_builds_is_fresh_everywhere(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    let cargo = cargo();
    mounted.run(
        "mkdir -p small/src && cd small
        printf '[package]\\nname = \"small\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n' > Cargo.toml
        echo 'pub fn word() -> &'\"'\"'static str { \"built\" }' > src/lib.rs
        echo 'fn main() { println!(\"{}\", small::word()) }' > src/main.rs",
    );
    let build = format!("{cargo}; cd small && cargo build --offline -v 2>&1 && target/debug/small");
    let first = mounted.run(&build);
    assert!(first.contains("Compiling small") && first.ends_with("built\n"), "{first}");
    let is_fresh = |said: &str| said.contains("Fresh small") && !said.contains("Compiling");
    let again = mounted.run(&build);
    assert!(is_fresh(&again), "{again}");
    assert_eq!(mounted.run("stat -c %h small/target/debug/small"), "2\n");
    mounted.is_whole_on_a_fresh_machine();
    let fresh = mounted.run(&build);
    assert!(is_fresh(&fresh) && fresh.ends_with("built\n"), "on a fresh machine: {fresh}");
    assert_eq!(mounted.run("stat -c %h small/target/debug/small"), "2\n");
    mounted.run("sed -i s/built/changed/ small/src/lib.rs");
    let changed = mounted.run(&build);
    assert!(changed.contains("Compiling small") && changed.ends_with("changed\n"), "{changed}");
}

fn what_make_built_is_up_to_date_everywhere(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    mounted.run(
        "mkdir sums && cd sums
        for n in $(seq 12); do printf '#include \"all.h\"\\nint f%s(void) { return %s; }\\n' $n $n > f$n.c; done
        for n in $(seq 12); do echo \"int f$n(void);\"; done > all.h
        { echo '#include <stdio.h>'; echo '#include \"all.h\"'; echo 'int main(void) { int sum = 0;'
          for n in $(seq 12); do echo \"sum += f$n();\"; done
          echo 'printf(\"%d\\n\", sum); return 0; }'; } > main.c
        printf 'objects = $(patsubst %%.c,%%.o,$(wildcard *.c))\\nsum: $(objects)\\n\\tcc -o $@ $^\\n' > Makefile
        printf '%%.o: %%.c\\n\\tcc -MMD -c -o $@ $<\\n-include $(wildcard *.d)\\n' >> Makefile",
    );
    let make = "cd sums && make -j2 && ./sum";
    let first = mounted.run(make);
    assert!(first.matches("cc -MMD").count() == 13 && first.ends_with("\n78\n"), "{first}");
    let again = mounted.run(make);
    assert!(again.contains("is up to date") && !again.contains("cc "), "{again}");
    mounted.is_whole_on_a_fresh_machine();
    let fresh = mounted.run(make);
    assert!(fresh.contains("is up to date") && !fresh.contains("cc "), "on a fresh machine: {fresh}");
    let touched = mounted.run(&format!("touch sums/f3.c && {make}"));
    assert_eq!(touched.matches("cc -MMD").count(), 1, "{touched}");
    let header = mounted.run(&format!("touch sums/all.h && {make}"));
    assert_eq!(header.matches("cc -MMD").count(), 13, "{header}");
}

fn a_python_environment_with_a_wheel(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    let wheel = "
import zipfile
name = 'word-1.0'
files = {
    'word.py': 'def main():\\n    print(\"from the wheel\")\\n',
    f'{name}.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: word\\nVersion: 1.0\\n',
    f'{name}.dist-info/WHEEL': 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    f'{name}.dist-info/entry_points.txt': '[console_scripts]\\nword = word:main\\n',
}
record = f'{name}.dist-info/RECORD'
with zipfile.ZipFile(f'{name}-py3-none-any.whl', 'w') as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
    wheel.writestr(record, ''.join(f'{path},,\\n' for path in [*files, record]))
";
    crate::person::write(mounted.person.path("wheel.py"), wheel.as_bytes());
    mounted.run(
        "python3 ~/wheel.py && python3 -m venv env
        env/bin/pip install --quiet --disable-pip-version-check --no-index ./word-1.0-py3-none-any.whl",
    );
    let says = "env/bin/word && env/bin/python -c 'import word, sys; word.main(); print(sys.prefix)'";
    let expected = format!("from the wheel\nfrom the wheel\n{}\n", mounted.path("env").display());
    assert_eq!(mounted.run(says), expected);
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run(says), expected, "on a fresh machine");
    let check = "env/bin/pip check --disable-pip-version-check && env/bin/pip uninstall -q -y word && ! [ -e env/bin/word ]";
    assert_eq!(mounted.run(check), "No broken requirements found.\n");
}

fn what_npm_installs_from_a_file(bucket: &Bucket) {
    let mut mounted = Mounted::new(bucket, &[]);
    mounted.run(
        "mkdir -p ~/word/lib && cd ~/word
        echo '{\"name\":\"word\",\"version\":\"1.0.0\",\"main\":\"lib/word.js\",\"bin\":\"cli.js\"}' > package.json
        echo 'module.exports = () => \"from the package\"' > lib/word.js
        printf '#!/usr/bin/env node\\nconsole.log(require(\"./lib/word.js\")())\\n' > cli.js && chmod 755 cli.js
        npm pack --silent",
    );
    mounted.run(
        "mkdir app && cd app && cp ~/word/word-1.0.0.tgz . && echo '{\"name\":\"app\",\"version\":\"1.0.0\"}' > package.json
        npm install --offline --no-audit --no-fund --silent ./word-1.0.0.tgz",
    );
    let says = "cd app && node_modules/.bin/word && node -p 'require(\"word\")()' && readlink node_modules/.bin/word && npm ls --silent --parseable | wc -l";
    let expected = "from the package\nfrom the package\n../word/cli.js\n2\n";
    assert_eq!(mounted.run(says), expected);
    mounted.is_whole_on_a_fresh_machine();
    assert_eq!(mounted.run(says), expected, "on a fresh machine");
    mounted.run("cd app && npm ci --offline --no-audit --no-fund --silent");
    assert_eq!(mounted.run(says), expected, "installed anew");
}
