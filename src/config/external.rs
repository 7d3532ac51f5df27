//! Work that is done elsewhere, as it was typed, and what that means.

use super::resolve::{or, period};
use super::section::{At, Problems, Section};
use super::value::{Address, AtLeastOne, Period, Texts};
use crate::core::external::{External, Hook, Method};

/// A value that may have been typed.
type Typed<T> = Option<At<T>>;

/// Work that is done elsewhere.
#[derive(Debug, Default)]
pub(super) struct ExternalFile {
    lost_after: Typed<Period>,
    timeout: Typed<Period>,
    concurrency: Typed<AtLeastOne>,
    probe: HookFile,
    cancel: HookFile,
}

/// Whom to ask about it.
#[derive(Debug, Default)]
struct HookFile {
    command: Typed<Texts>,
    url: Typed<Address>,
    method: Typed<Method>,
}

impl ExternalFile {
    pub(super) fn read(external: &mut Section<'_, '_>) -> Self {
        Self {
            lost_after: external.value("lost_after"),
            timeout: external.value("timeout"),
            concurrency: external.value("concurrency"),
            probe: external.section("probe", HookFile::read),
            cancel: external.section("cancel", HookFile::read),
        }
    }

    /// What it means where `inherited` holds.
    pub(super) fn resolve(&self, inherited: &External, problems: &mut Problems<'_>) -> External {
        External {
            probe: self.probe.resolve(Method::Get, inherited.probe.as_ref(), problems),
            cancel: self.cancel.resolve(Method::Post, inherited.cancel.as_ref(), problems),
            lost_after: period(&self.lost_after, inherited.lost_after),
            timeout: period(&self.timeout, inherited.timeout),
            concurrency: or(&self.concurrency, |AtLeastOne(number)| *number, inherited.concurrency),
            left_to_daemon: false,
        }
    }
}

impl HookFile {
    fn read(hook: &mut Section<'_, '_>) -> Self {
        Self { command: hook.value("command"), url: hook.value("url"), method: hook.value("method") }
    }

    /// A hook that is typed takes the place of the inherited one, whole.
    fn resolve(&self, usual: Method, inherited: Option<&Hook>, problems: &mut Problems<'_>) -> Option<Hook> {
        if let (Some(At { place, .. }), None) = (&self.method, &self.url) {
            problems.at(place, "means nothing without a url beside it");
        }
        match (&self.command, &self.url) {
            (Some(_), Some(At { place, .. })) => {
                problems.at(place, "command and url exclude each other; leave out one of them");
                None
            }
            // No words: nobody is asked, whatever holds above.
            (Some(At { value: Texts(words), .. }), None) => {
                (!words.is_empty()).then(|| Hook::Command(words.clone()))
            }
            (None, Some(At { value: Address(url), .. })) => {
                Some(Hook::Http { method: or(&self.method, |method| *method, usual), url: url.clone() })
            }
            (None, None) => inherited.cloned(),
        }
    }
}
