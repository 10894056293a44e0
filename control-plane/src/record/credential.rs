//! `credential/ACCESS_KEY`: a key pair and whom it stands for.

use serde::{Deserialize, Serialize};

use super::Record;

/// A key pair.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialRecord {
    /// `aws_access_key_id`.
    pub access_key: String,
    /// `aws_secret_access_key`.
    pub secret_key: String,
    /// Whom it stands for.
    pub principal: String,
    /// Whether it may sign requests.
    pub active: bool,
}

impl Record for CredentialRecord {
    const PREFIX: &'static str = "credential/";

    fn name(&self) -> String {
        self.access_key.clone()
    }
}

impl std::fmt::Debug for CredentialRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialRecord")
            .field("access_key", &self.access_key)
            .field("principal", &self.principal)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
