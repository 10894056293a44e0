//! What can go wrong inside a replica's engine.

/// A failure of the engine. After any of these except `Damaged`, the file is never used again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The B-tree refused.
    #[error("the B-tree file failed")]
    Tree(#[source] Box<redb::Error>),
    /// The file system refused.
    #[error("the file system failed")]
    Io(#[from] std::io::Error),
    /// A checksum does not match, or a stored form is not what this engine writes.
    #[error("stored data is damaged: {0}")]
    Damaged(&'static str),
}

impl EngineError {
    /// Wraps any of the B-tree library's errors.
    pub(crate) fn tree(error: impl Into<redb::Error>) -> Self {
        use std::io::ErrorKind;
        match error.into() {
            redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => {
                Self::Damaged("the B-tree file")
            }
            redb::Error::Io(error)
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged("the B-tree file")
            }
            other => Self::Tree(Box::new(other)),
        }
    }

    /// Reads from a B-tree file. The library panics on pages that make no sense: that is damage, and must
    /// cost the file, not the thread.
    pub(crate) fn guard<T>(read: impl FnOnce() -> Result<T, Self>) -> Result<T, Self> {
        // What the closure touches is only read, and is not used again after damage.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
            .unwrap_or(Err(Self::Damaged("a page of the B-tree file")))
    }
}
