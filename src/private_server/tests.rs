#[test]
fn the_hidden_word_refuses_what_it_cannot_read() {
    let error = super::with_parent(&["x".into()]);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
