//! The help of every command, as it was when somebody last read it.

use std::process::Command;

use backstop::cli::tree;

use crate::support::backstop;

#[test]
fn the_help_of_every_command_is_as_it_was_read() {
    let mut root = tree();
    root.build();
    let mut pages = vec![root.render_long_help().to_string()];
    collect(&mut root, "backstop", &mut pages);
    // No terminal is as wide on every machine; clap wraps at the most that it is given.
    insta::assert_snapshot!(pages.join("\n"));
}

fn collect(command: &mut clap::Command, path: &str, pages: &mut Vec<String>) {
    for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        pages.push(format!("=== {path}\n{}", sub.clone().term_width(100).render_long_help()));
        collect(sub, &path, pages);
    }
}

#[test]
fn every_command_and_every_flag_says_what_it_is() {
    fn check(command: &clap::Command) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            assert!(sub.get_about().is_some(), "{} has no help", sub.get_name());
            for argument in sub.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(
                    argument.get_help().is_some(),
                    "{} {} has no help",
                    sub.get_name(),
                    argument.get_id()
                );
            }
            check(sub);
        }
    }
    check(&tree());
}

#[test]
fn each_command_has_its_manual_page() {
    let page = |words: &[&str]| Command::new(backstop()).arg("man").args(words).output().unwrap();
    let work = String::from_utf8(page(&["work"]).stdout).unwrap();
    assert!(work.contains("kill\\-after") && work.starts_with(".ie"), "{work}");
    assert!(String::from_utf8(page(&["dead", "redrive"]).stdout).unwrap().contains("deadline"));
    let unknown = page(&["no-such-command"]);
    assert_eq!(unknown.status.code(), Some(2));
}
