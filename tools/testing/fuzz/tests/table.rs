// SPDX-License-Identifier: GPL-2.0
//! The table of targets is complete, and every target takes its corpus.
use fuzz::{NOT_DECODERS, TARGETS};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The corpus, as unpack.sh leaves it: TARGET/INPUT.
fn unpacked() -> PathBuf {
    PathBuf::from(std::env::var("FUZZ_CORPUS").expect("run.sh says where the corpus is"))
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let path = top().join(folder);
    if path.is_file() {
        return vec![path];
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&path)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// `impl<'a> Name<'a> {` -> `Name`
fn type_of(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generic) => {
            let mut depth = 1;
            let end = generic.find(|c| {
                depth += i32::from(c == '<') - i32::from(c == '>');
                depth == 0
            })?;
            &generic[end + 1..]
        }
        None => rest,
    };
    let name = rest.trim_start().split(['<', ' ', '{']).next()?;
    Some(name.to_string())
}

/// Public functions of a file that take bytes or text, outside its tests, and do not
/// make bytes of their own: `file::Type::function`.
fn candidates(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[kunit_tests").next().unwrap();
    let mut found = BTreeSet::new();
    let mut owner = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("impl") {
            owner = type_of(line);
        } else if line.starts_with('}') {
            owner = None;
        }
        let Some(at) = line.find("pub fn ").or(line.find("pub const fn ")) else {
            continue;
        };
        let mut signature = line[at..].to_string();
        while !signature.contains(['{', ';']) {
            signature += lines.next().unwrap();
        }
        let signature = signature.split(['{', ';']).next().unwrap();
        let name = signature.split("fn ").nth(1).unwrap();
        let name = name.split(['(', '<']).next().unwrap();
        let (arguments, result) = signature.split_once("->").unwrap_or((signature, ""));
        let takes = ["Decoder<", "u8]", "str", "KVVec<u8>"];
        let makes_bytes = result.contains("KVVec<u8>") || arguments.contains("Encoder");
        if takes.iter().any(|what| arguments.contains(what)) && !makes_bytes {
            let owner = owner
                .as_ref()
                .map_or(String::new(), |owner| format!("{owner}::"));
            found.insert(format!("{}::{owner}{name}", stem(path)));
        }
    }
    found
}

#[test]
fn every_decoder_is_a_target() {
    let covered: BTreeSet<&str> = TARGETS
        .iter()
        .flat_map(|t| t.covers.iter().copied())
        .collect();
    let other: BTreeSet<&str> = NOT_DECODERS.iter().map(|(name, _)| *name).collect();
    let folders = [
        "net/ceph/wire",
        "net/ceph/crush/map.rs",
        "fs/ceph/wire",
        "fs/ceph/mount",
    ];
    let mut all = BTreeSet::new();
    for path in folders.iter().flat_map(|folder| sources(folder)) {
        all.append(&mut candidates(&path));
    }
    assert!(all.len() > 60, "the sources are not read right: {all:?}");
    let missing: Vec<&String> = all
        .iter()
        .filter(|name| !covered.contains(name.as_str()) && !other.contains(name.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "not in tools/testing/fuzz/src/table.rs, neither as targets nor as no decoders: {missing:#?}"
    );
    let gone: Vec<&&str> = other.iter().filter(|name| !all.contains(**name)).collect();
    assert!(
        gone.is_empty(),
        "listed as no decoders, but not there: {gone:?}"
    );
    let both: Vec<&&str> = other.intersection(&covered).collect();
    assert!(both.is_empty(), "listed as decoders and as none: {both:?}");
}

#[test]
fn every_machine_is_a_target() {
    let covered: BTreeSet<&str> = TARGETS
        .iter()
        .flat_map(|t| t.covers.iter().copied())
        .collect();
    for path in ["net/ceph/machine", "fs/ceph/machine"]
        .iter()
        .flat_map(|folder| sources(folder))
    {
        let name = stem(&path);
        if !name.ends_with("_test") && !name.ends_with("_tests") {
            let name = format!("machine::{name}");
            assert!(
                covered.contains(name.as_str()),
                "{name} is in no target of table.rs"
            );
        }
    }
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name()).collect();
    assert_eq!(names.len(), TARGETS.len());
    for folder in std::fs::read_dir(unpacked()).unwrap() {
        let name = folder.unwrap().file_name();
        assert!(
            names.contains(name.to_str().unwrap()),
            "a corpus without a target: {name:?}"
        );
    }
}

/// Every input of the corpus, and what an attacker would try first with it.
#[test]
fn corpus() {
    let mut inputs = 0;
    for target in TARGETS {
        let folder = unpacked().join(target.name());
        (target.run)(&[]);
        for file in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = file.unwrap().path();
            inputs += 1;
            let bytes = std::fs::read(&path).unwrap();
            println!("{}", path.display());
            (target.run)(&bytes);
            for fault in 1..=8 {
                let mut bytes = bytes.clone();
                // Decoders take the choice from the end, machines from the beginning.
                if let Some(last) = bytes.last_mut() {
                    *last = fault;
                }
                (target.run)(&bytes);
            }
        }
    }
    assert!(inputs > 0, "no inputs in {}", unpacked().display());
}
