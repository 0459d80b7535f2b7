//! `examples/operators`: the configurations that operators copy.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;

/// Each configuration is usable without a warning, and the list of the folder names each file.
#[test]
fn examples_for_operators_are_usable() {
    let sandbox = Sandbox::new("");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/operators");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut usable = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || list.contains(&format!("`{name}`")), "README.md does not list {name}");
        if path.extension().is_some_and(|extension| extension == "cf") {
            let output = sandbox.run(&["-t", path.to_str().unwrap(), "--strict"]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            usable += 1;
        }
    }
    assert!(usable >= 8, "{usable} configurations");
}
