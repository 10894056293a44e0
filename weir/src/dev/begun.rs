//! How many copies a data folder was begun with: kept in the folder, so that it is known even when part of the
//! folder is lost.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::cli::Replicas;

/// The file that keeps the number.
const FILE: &str = "replicas";

/// Written first and then renamed: the file is there as a whole, or not at all.
const UNFINISHED: &str = "replicas.new";

/// The number that the folder `dir` runs with when `asked` is asked for; a new folder keeps it from now on.
///
/// # Errors
/// It was begun with another number, or does not say with which.
pub(super) fn settle(asked: Option<Replicas>, dir: &Path) -> anyhow::Result<Replicas> {
    let kept = kept(dir)?;
    let begun = kept.or_else(|| told_by_traces(asked, dir));
    let replicas = Replicas::settle(asked, begun, dir)?;
    if kept.is_none() {
        keep(replicas, dir).with_context(|| format!("cannot write {}", dir.join(FILE).display()))?;
    }
    Ok(replicas)
}

fn kept(dir: &Path) -> anyhow::Result<Option<Replicas>> {
    let file = dir.join(FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => match Replicas::from_str(text.trim(), false) {
            Ok(replicas) => Ok(Some(replicas)),
            Err(_) => bail!(
                "{} is damaged: it holds the number of copies that this folder was begun with, 1 or 3",
                file.display()
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// What a folder of an earlier version shows. Lost storage folders prove nothing, so only whoever asks for one
/// copy of what has no sign of three gets it.
fn told_by_traces(asked: Option<Replicas>, dir: &Path) -> Option<Replicas> {
    let has = |name: &str| dir.join(name).exists();
    if has("storage-2") || has("storage-3") {
        return Some(Replicas::Three);
    }
    (has("storage-1") || has("control")).then(|| asked.unwrap_or(Replicas::Three))
}

fn keep(replicas: Replicas, dir: &Path) -> std::io::Result<()> {
    let unfinished = dir.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{}", replicas.count())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(traces: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        traces.iter().for_each(|trace| std::fs::create_dir(dir.path().join(trace)).unwrap());
        dir
    }

    #[test]
    fn a_new_folder_keeps_what_it_was_begun_with() {
        for (asked, begun) in [
            (None, Replicas::Three),
            (Some(Replicas::One), Replicas::One),
            (Some(Replicas::Three), Replicas::Three),
        ] {
            let dir = folder(&[]);
            assert_eq!(settle(asked, dir.path()).unwrap(), begun);
            assert_eq!(settle(None, dir.path()).unwrap(), begun);
            assert_eq!(settle(Some(begun), dir.path()).unwrap(), begun);
        }
    }

    #[test]
    fn another_number_than_it_was_begun_with_is_refused() {
        let dir = folder(&[]);
        settle(Some(Replicas::Three), dir.path()).unwrap();
        let refused = settle(Some(Replicas::One), dir.path()).unwrap_err().to_string();
        assert!(refused.contains("was begun with --replicas 3, which cannot be changed"), "{refused}");
        assert_eq!(settle(None, dir.path()).unwrap(), Replicas::Three);
    }

    #[test]
    fn the_loss_of_a_storage_folder_does_not_change_it() {
        let dir = folder(&[]);
        settle(None, dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("storage-1")).unwrap();
        assert_eq!(settle(None, dir.path()).unwrap(), Replicas::Three);
    }

    #[test]
    fn any_trace_in_a_folder_of_an_earlier_version_means_three() {
        for traces in
            [&["storage-2"][..], &["storage-3"], &["storage-1", "storage-3"], &["storage-1"], &["control"]]
        {
            assert_eq!(settle(None, folder(traces).path()).unwrap(), Replicas::Three, "{traces:?}");
        }
        assert!(settle(Some(Replicas::One), folder(&["storage-1", "storage-3"]).path()).is_err());
    }

    #[test]
    fn one_copy_of_an_earlier_version_goes_on_when_asked_for() {
        let dir = folder(&["control", "storage-1"]);
        assert_eq!(settle(Some(Replicas::One), dir.path()).unwrap(), Replicas::One);
        assert_eq!(settle(None, dir.path()).unwrap(), Replicas::One);
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        for text in ["", "2", "three"] {
            let dir = folder(&[]);
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let refused = settle(Some(Replicas::Three), dir.path()).unwrap_err().to_string();
            assert!(refused.contains("is damaged"), "{refused}");
        }
    }
}
