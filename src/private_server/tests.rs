use super::private_folder;

#[test]
fn the_hidden_word_refuses_what_it_cannot_read() {
    let error = super::with_parent(&["x".into()]);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_folder_too_deep_for_a_socket_is_refused_with_what_to_do() {
    let deep = tempfile::tempdir().unwrap();
    let deep = deep.path().join("x".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let said = private_folder(&deep).unwrap_err().to_string();
    assert!(said.contains("100 at most") && said.contains("TMPDIR"), "{said}");
    assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0, "the folder was left behind");
}
