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
        match error.into() {
            redb::Error::Corrupted(_) => Self::Damaged("the B-tree file"),
            other => Self::Tree(Box::new(other)),
        }
    }
}
