//! The key pair that a local fleet accepts: given, or made once and kept with the data.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rand::Rng;
use serde::{Deserialize, Serialize};

const ACCESS_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The file that keeps the pair.
const FILE: &str = "credentials.json";

/// An access key and its secret.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyPair {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: String,
}

impl KeyPair {
    /// The given pair, or the one kept in `dir`, or a new one that is then kept there.
    pub(crate) fn given_or_kept(
        access_key: Option<String>,
        secret_key: Option<String>,
        dir: Option<&Path>,
    ) -> anyhow::Result<Self> {
        if let (Some(access_key), Some(secret_key)) = (access_key, secret_key) {
            return Ok(Self { access_key, secret_key });
        }
        let Some(dir) = dir else { return Ok(Self::random()) };
        if let Some(kept) = Self::kept_in(dir)? {
            return Ok(kept);
        }
        let file = dir.join(FILE);
        let made = Self::random();
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let kept = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        serde_json::to_writer_pretty(
            kept.with_context(|| format!("cannot write {}", file.display()))?,
            &made,
        )?;
        Ok(made)
    }

    /// The pair kept in the folder of a `weir dev` or a `weir cluster`; none if the fleet was given another.
    pub(crate) fn kept_in(dir: &Path) -> anyhow::Result<Option<Self>> {
        let file = dir.join(FILE);
        if !file.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{} is not a key pair", file.display()))
    }

    /// 16 and 40 characters from the operating system's randomness: 80 and 238 bits.
    #[expect(clippy::disallowed_methods, reason = "a secret must not be replayable")]
    fn random() -> Self {
        let draw = |alphabet: &[u8], length: usize| -> String {
            let mut random = rand::rng();
            (0..length).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
        };
        Self {
            access_key: format!("WEIR{}", draw(ACCESS_ALPHABET, 16)),
            secret_key: draw(SECRET_ALPHABET, 40),
        }
    }
}
