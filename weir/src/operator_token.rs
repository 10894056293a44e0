//! The operators' token: whoever shows it may change quotas and rings.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use rand::Rng;
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// The environment variable that gives it, to servers and to commands.
pub(crate) const VARIABLE: &str = "WEIR_OPERATOR_TOKEN";

/// Its name in the folder of a `weir dev` or a `weir cluster`.
pub(crate) const FILE: &str = "operator-token";

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// 43 characters of 62 are 256 bits.
const LENGTH: usize = 43;
/// A shorter one could be guessed: 16 random characters of 62 are 95 bits.
const SHORTEST: usize = 16;
/// A longer one would not fit a header that servers take.
const LONGEST: usize = 1024;

/// A token: 16 to 1,024 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct OperatorToken(String);

impl std::fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorToken(…)")
    }
}

/// Why a text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operator token is {SHORTEST} to {LONGEST} visible ASCII characters")]
pub(crate) struct NotAToken;

impl TryFrom<String> for OperatorToken {
    type Error = NotAToken;

    fn try_from(text: String) -> Result<Self, NotAToken> {
        let fits = (SHORTEST..=LONGEST).contains(&text.len());
        match fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text)),
            false => Err(NotAToken),
        }
    }
}

impl OperatorToken {
    /// The one in the environment, if there is one.
    pub(crate) fn of_environment() -> anyhow::Result<Option<Self>> {
        match std::env::var(VARIABLE) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some(text.try_into().context(VARIABLE)?)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(error).context(VARIABLE),
        }
    }

    /// The one in the environment, or the one kept in `dir`, or a new one that is then kept there,
    /// readable by its owner only.
    pub(crate) fn given_or_kept(dir: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(given) = Self::of_environment()? {
            return Ok(given);
        }
        let Some(dir) = dir else { return Ok(Self::random()) };
        if let Some(kept) = Self::kept_in(dir)? {
            return Ok(kept);
        }
        let (made, file) = (Self::random(), dir.join(FILE));
        let unwritable = || format!("cannot write {}", file.display());
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut kept = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .with_context(unwritable)?;
        std::io::Write::write_all(&mut kept, format!("{}\n", made.0).as_bytes()).with_context(unwritable)?;
        Ok(made)
    }

    /// The one kept in the folder of a `weir dev` or a `weir cluster`.
    pub(crate) fn kept_in(dir: &Path) -> anyhow::Result<Option<Self>> {
        let file = dir.join(FILE);
        match std::fs::read_to_string(&file) {
            Ok(text) => match Self::try_from(text.trim_end().to_owned()) {
                Ok(kept) => Ok(Some(kept)),
                Err(error) => bail!("{}: {error}", file.display()),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Whether `shown` is this one, in a time that does not tell how much of it is right.
    pub(crate) fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    /// The token itself, for a header or a file that only its owner reads.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    #[expect(clippy::disallowed_methods, reason = "a secret must not be replayable")]
    fn random() -> Self {
        let mut random = rand::rng();
        Self((0..LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_kept_token_is_found_again_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let made = OperatorToken::given_or_kept(Some(dir.path())).unwrap();

        assert_eq!(OperatorToken::given_or_kept(Some(dir.path())).unwrap(), made);
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = OperatorToken::try_from("0123456789abcdef".to_owned()).unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdefg", "0123456789abcdeF"] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_is_short_or_unprintable_is_refused_and_no_token_shows_in_logs() {
        for unusable in ["", "short", "0123456789 abcdef", "0123456789abcdé"] {
            assert_eq!(OperatorToken::try_from(unusable.to_owned()), Err(NotAToken), "{unusable}");
        }
        let token = OperatorToken::random();
        assert!(!format!("{token:?}").contains(token.reveal()));
    }
}
