//! What must never be written into the repository.

use super::{kept_files, none};

/// Names of package registries' and mirrors' hosts: where packages come from is the machine's setting, not the project's.
const HOSTS: [&str; 8] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
];

/// How keys and tokens begin.
const KEYS: [&str; 6] = [
    concat!("-----BEGIN ", "PRIVATE KEY"),
    concat!("-----BEGIN OPENSSH ", "PRIVATE KEY"),
    concat!("-----BEGIN RSA ", "PRIVATE KEY"),
    concat!("AK", "IA"),
    concat!("gh", "p_"),
    concat!("github_", "pat_"),
];

/// Places on the machine of whoever wrote it.
const PLACES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/tmp/te", "am")];

#[test]
fn no_registry_host_no_key_and_no_path_of_a_machine_is_written_down() {
    let mut faults = Vec::new();
    for file in kept_files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            let found = HOSTS.iter().chain(&KEYS).chain(&PLACES).find(|word| line.contains(*word));
            let told = |word: &&str| format!("{}:{}: `{word}`", file.path, number + 1);
            faults.extend(found.map(told));
        }
    }
    none("in the repository", &faults);
}
