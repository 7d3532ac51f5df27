//! Where the next page begins: behind what stays where it is.

use crate::core::facts::SessionFacts;
use crate::native::scripts::observe::Cursor;

/// What became of a session on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Whether the session is out of the index that listed it.
    pub(super) gone: bool,
    /// How many of its listed tasks stay where they are.
    pub(super) tasks: usize,
}

/// Moves a cursor over a page's silent sessions.
pub(super) fn over_silent(cursor: &mut Cursor, sessions: &[SessionFacts], left: &[Left]) {
    advance(&mut cursor.silent, &mut cursor.silent_tasks, sessions, left, |session, skipped| {
        (skipped + session.tasks.len()) as u64 >= session.running
    });
}

/// Moves a cursor over a page's overdue sessions. Only the last one can have been cut, and only where there is more.
pub(super) fn over_overdue(cursor: &mut Cursor, sessions: &[SessionFacts], left: &[Left], more: bool) {
    let last = sessions.last().map(|session| session.session.clone());
    advance(&mut cursor.overdue, &mut cursor.overdue_tasks, sessions, left, |session, _| {
        !(more && Some(&session.session) == last.as_ref() && !session.tasks.is_empty())
    });
}

fn advance(
    sessions_behind: &mut usize,
    tasks_behind: &mut usize,
    sessions: &[SessionFacts],
    left: &[Left],
    whole: impl Fn(&SessionFacts, usize) -> bool,
) {
    for (session, left) in sessions.iter().zip(left) {
        if left.gone {
            *tasks_behind = 0;
        } else if whole(session, *tasks_behind) && (left.tasks > 0 || session.tasks.is_empty()) {
            *sessions_behind += 1;
            *tasks_behind = 0;
        } else {
            *tasks_behind += left.tasks;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::TaskFacts;

    fn session(name: &str, listed: usize, running: u64) -> SessionFacts {
        SessionFacts {
            session: name.into(),
            running,
            tasks: vec![TaskFacts::default(); listed],
            ..SessionFacts::default()
        }
    }

    #[test]
    fn what_is_held_is_stepped_over_and_what_moved_is_not() {
        let mut cursor = Cursor::default();
        let sessions = [session("held", 2, 2), session("moved", 3, 3), session("empty", 0, 0)];
        let left =
            [Left { gone: false, tasks: 2 }, Left { gone: true, tasks: 0 }, Left { gone: false, tasks: 0 }];
        over_silent(&mut cursor, &sessions, &left);
        assert_eq!((cursor.silent, cursor.silent_tasks), (2, 0));
    }

    #[test]
    fn a_held_session_that_fills_several_pages_is_read_to_its_end() {
        let mut cursor = Cursor::default();
        let held = |tasks| Left { gone: false, tasks };
        over_silent(&mut cursor, &[session("big", 100, 150)], &[held(100)]);
        assert_eq!((cursor.silent, cursor.silent_tasks), (0, 100));
        over_silent(&mut cursor, &[session("big", 50, 150)], &[held(50)]);
        assert_eq!((cursor.silent, cursor.silent_tasks), (1, 0));
    }

    #[test]
    fn a_session_cut_by_the_page_whose_tasks_moved_is_looked_at_again() {
        let mut cursor = Cursor::default();
        over_silent(&mut cursor, &[session("big", 100, 150)], &[Left { gone: false, tasks: 0 }]);
        assert_eq!(cursor, Cursor::default());
    }

    #[test]
    fn overdue_tasks_that_go_on_do_not_hide_those_behind_them() {
        let mut cursor = Cursor::default();
        over_overdue(&mut cursor, &[session("a", 100, 200)], &[Left { gone: false, tasks: 100 }], true);
        assert_eq!((cursor.overdue, cursor.overdue_tasks), (0, 100));
        over_overdue(&mut cursor, &[session("a", 20, 200)], &[Left { gone: false, tasks: 20 }], false);
        assert_eq!((cursor.overdue, cursor.overdue_tasks), (1, 0));
    }
}
