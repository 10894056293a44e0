//! Credentials and region as an AWS SDK finds them: environment variables, then profiles in the shared files.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files", "Environment variables".
//! Left out: whatever asks another service for credentials (roles, SSO, instance metadata, processes). The error
//! says how to get such credentials into the environment.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use configparser::ini::Ini;

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const USUAL_PROFILE: &str = "default";
/// Settings of a profile that make an SDK ask for its credentials elsewhere.
const ELSEWHERE: [&str; 7] = [
    "role_arn",
    "source_profile",
    "credential_source",
    "credential_process",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
];

/// A key pair, and the token of a session if they belong to one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
}

/// Where credentials may be: the process's environment and files, or a test's.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// An environment variable that is set to something.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// A file's text.
    pub file: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// One of the variables is set and the other is not.
    #[error("{set} is set, but {missing} is not: set both, or neither and use a profile")]
    Half {
        /// The one that is.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// They are nowhere.
    #[error(
        "no credentials for profile `{profile}`; looked at: {looked}. Set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or write a profile with aws_access_key_id and aws_secret_access_key"
    )]
    NotFound {
        /// The profile that was looked for.
        profile: String,
        /// All places, and what was amiss with each.
        looked: String,
    },
    /// The profile says that another service gives them.
    #[error(
        "profile `{profile}` gets its credentials by `{setting}`, which is not supported here. Let the AWS CLI get \
         them: eval \"$(aws configure export-credentials --profile {profile} --format env)\", and name no profile"
    )]
    Elsewhere {
        /// The profile.
        profile: String,
        /// The setting that says so.
        setting: &'static str,
    },
}

impl Credentials {
    /// These.
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            session_token: session_token.map(str::to_owned),
        }
    }

    /// Finds those of a profile; without one, those of the environment, or else those of the profile that the
    /// environment names (`AWS_PROFILE`), or else of the profile `default`.
    ///
    /// # Errors
    /// [`CredentialsError`], with all places where they were looked for.
    pub fn find(profile: Option<&str>, places: &Places<'_>) -> Result<Self, CredentialsError> {
        let mut looked = Vec::new();
        if profile.is_none() {
            if let Some(found) = places.credentials_in_variables()? {
                return Ok(found);
            }
            looked.push(format!("{ACCESS_KEY} and {SECRET_KEY} (not set)"));
        }
        let profile = places.profile(profile);
        let mut elsewhere = None;
        for (path, section) in places.sections(&profile) {
            match places.read_section(&path, &section) {
                Ok(settings) => {
                    if let Some(found) = settings.credentials() {
                        return Ok(found);
                    }
                    elsewhere = elsewhere.or(settings.elsewhere());
                    looked.push(format!("[{section}] in {} (has no key pair)", path.display()));
                }
                Err(why) => looked.push(why),
            }
        }
        Err(match elsewhere {
            Some(setting) => CredentialsError::Elsewhere { profile, setting },
            None => CredentialsError::NotFound { profile, looked: looked.join("; ") },
        })
    }

    /// The access key's id.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(crate) fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The session's token.
    #[must_use]
    pub const fn session_token(&self) -> Option<&str> {
        match &self.session_token {
            Some(token) => Some(token.as_str()),
            None => None,
        }
    }
}

/// The region of a profile, or of the environment: `AWS_REGION`, `AWS_DEFAULT_REGION`, or the profile's setting.
#[must_use]
pub fn find_region(profile: Option<&str>, places: &Places<'_>) -> Option<String> {
    let of_variables = || (places.variable)("AWS_REGION").or_else(|| (places.variable)("AWS_DEFAULT_REGION"));
    let of_profile = || {
        let sections = places.sections(&places.profile(profile));
        sections.iter().find_map(|(path, section)| places.read_section(path, section).ok()?.get("region"))
    };
    of_variables().or_else(of_profile)
}

impl Places<'static> {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok().filter(|value| !value.is_empty()),
            file: &|path| std::fs::read_to_string(path),
        }
    }
}

impl Places<'_> {
    fn credentials_in_variables(&self) -> Result<Option<Credentials>, CredentialsError> {
        match ((self.variable)(ACCESS_KEY), (self.variable)(SECRET_KEY)) {
            (Some(access_key), Some(secret_key)) => {
                let session_token = (self.variable)(SESSION_TOKEN);
                Ok(Some(Credentials { access_key, secret_key, session_token }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(CredentialsError::Half { set: ACCESS_KEY, missing: SECRET_KEY }),
            (None, Some(_)) => Err(CredentialsError::Half { set: SECRET_KEY, missing: ACCESS_KEY }),
        }
    }

    fn profile(&self, given: Option<&str>) -> String {
        let of_variable = || (self.variable)("AWS_PROFILE").unwrap_or_else(|| USUAL_PROFILE.to_owned());
        given.map_or_else(of_variable, str::to_owned)
    }

    /// The files and the sections in them that are about a profile.
    fn sections(&self, profile: &str) -> [(PathBuf, String); 2] {
        let home = PathBuf::from((self.variable)("HOME").unwrap_or_else(|| "~".to_owned()));
        let path = |variable: &str, usual: &str| {
            (self.variable)(variable).map_or_else(|| home.join(".aws").join(usual), PathBuf::from)
        };
        let in_config =
            if profile == USUAL_PROFILE { profile.to_owned() } else { format!("profile {profile}") };
        [
            (path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile.to_owned()),
            (path("AWS_CONFIG_FILE", "config"), in_config),
        ]
    }

    /// A section's settings, or why there are none.
    fn read_section(&self, path: &Path, section: &str) -> Result<Settings, String> {
        let shown = path.display();
        let text = (self.file)(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{shown} (no such file)"),
            _ => format!("{shown} ({error})"),
        })?;
        let mut ini = Ini::new_cs();
        // Keys may hold `;`, `#` and `:`; nested settings are indented lines.
        let mut defaults = ini.defaults();
        defaults.enable_inline_comments = false;
        defaults.delimiters = vec!['='];
        defaults.multiline = true;
        defaults.default_section = String::new();
        ini.load_defaults(defaults);
        ini.read(text).map_err(|error| format!("{shown} ({error})"))?;
        if ini.get_map_ref().contains_key(section) {
            Ok(Settings { ini, section: section.to_owned() })
        } else {
            Err(format!("[{section}] in {shown} (no such section)"))
        }
    }
}

/// The settings of a profile in one file.
struct Settings {
    ini: Ini,
    section: String,
}

impl Settings {
    fn get(&self, name: &str) -> Option<String> {
        self.ini.get(&self.section, name).filter(|value| !value.is_empty())
    }

    fn credentials(&self) -> Option<Credentials> {
        Some(Credentials {
            access_key: self.get("aws_access_key_id")?,
            secret_key: self.get("aws_secret_access_key")?,
            session_token: self.get("aws_session_token"),
        })
    }

    fn elsewhere(&self) -> Option<&'static str> {
        ELSEWHERE.into_iter().find(|setting| self.get(setting).is_some())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CREDENTIALS: &str = "\
# keys of the team
[default]
aws_access_key_id = AKIDDEFAULT
aws_secret_access_key = se/cret#with;signs=

[planner]
aws_access_key_id=AKIDPLANNER
aws_secret_access_key=planner-secret
aws_session_token=planner:token=
";
    const CONFIG: &str = "\
[default]
region = eu-west-1
s3 =
  addressing_style = path
output = json

[profile planner]
region = us-east-2

[profile assumed]
role_arn = arn:aws:iam::123456789012:role/planner
source_profile = default

[profile inline]
aws_access_key_id = AKIDINLINE
aws_secret_access_key = inline-secret
";

    #[test]
    fn the_environment_comes_first_with_its_session_token() {
        let variables =
            [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
        assert_eq!(find(None, &variables), Ok(Credentials::new("AKIDENV", "s", Some("t"))));
    }

    #[test]
    fn a_profile_that_is_asked_for_comes_before_the_environment() {
        let variables = [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let planner = Credentials::new("AKIDPLANNER", "planner-secret", Some("planner:token="));
        assert_eq!(find(Some("planner"), &variables), Ok(planner));
    }

    #[test]
    fn without_variables_the_default_profile_or_the_one_named_is_taken() {
        let default = Credentials::new("AKIDDEFAULT", "se/cret#with;signs=", None);
        assert_eq!(find(None, &[]), Ok(default));
        assert_eq!(
            find(None, &[("AWS_PROFILE", "inline")]),
            Ok(Credentials::new("AKIDINLINE", "inline-secret", None))
        );
    }

    #[test]
    fn half_a_key_pair_is_an_error_that_says_which_half() {
        let error = find(None, &[("AWS_ACCESS_KEY_ID", "AKIDENV")]).unwrap_err();
        assert_eq!(
            error,
            CredentialsError::Half { set: "AWS_ACCESS_KEY_ID", missing: "AWS_SECRET_ACCESS_KEY" }
        );
    }

    #[test]
    fn an_unknown_profile_is_an_error_that_says_where_was_looked() {
        let error = find(Some("nobody"), &[]).unwrap_err().to_string();
        assert!(error.contains("[nobody] in /home/a/.aws/credentials (no such section)"), "{error}");
        assert!(error.contains("[profile nobody] in /home/a/.aws/config (no such section)"), "{error}");
        let elsewhere = [("AWS_SHARED_CREDENTIALS_FILE", "/x"), ("AWS_CONFIG_FILE", "/y")];
        let error = find(None, &elsewhere).unwrap_err().to_string();
        assert!(error.contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (not set)"), "{error}");
        assert!(error.contains("/x (no such file); /y (no such file)"), "{error}");
    }

    #[test]
    fn a_role_to_assume_is_said_to_be_out_of_reach() {
        let error = find(Some("assumed"), &[]).unwrap_err();
        assert_eq!(error, CredentialsError::Elsewhere { profile: "assumed".to_owned(), setting: "role_arn" });
    }

    #[test]
    fn the_region_is_the_environments_or_the_profiles() {
        let region =
            |profile, variables: &[(&str, &str)]| with(variables, |places| find_region(profile, places));
        assert_eq!(region(None, &[("AWS_REGION", "eu-north-1")]).as_deref(), Some("eu-north-1"));
        assert_eq!(region(None, &[("AWS_DEFAULT_REGION", "eu-south-1")]).as_deref(), Some("eu-south-1"));
        assert_eq!(region(None, &[]).as_deref(), Some("eu-west-1"));
        assert_eq!(region(Some("planner"), &[]).as_deref(), Some("us-east-2"));
        assert_eq!(region(Some("inline"), &[]), None);
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let shown = format!("{:?}", Credentials::new("AKID", "hidden", Some("hidden")));
        assert!(shown.contains("AKID") && !shown.contains("hidden"), "{shown}");
    }

    fn find(profile: Option<&str>, variables: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        with(variables, |places| Credentials::find(profile, places))
    }

    fn with<T>(variables: &[(&str, &str)], then: impl FnOnce(&Places<'_>) -> T) -> T {
        let mut all = BTreeMap::from([("HOME", "/home/a")]);
        all.extend(variables.iter().copied());
        let variable = |name: &str| all.get(name).map(|value| (*value).to_owned());
        let file = |path: &Path| match path.to_str() {
            Some("/home/a/.aws/credentials") => Ok(CREDENTIALS.to_owned()),
            Some("/home/a/.aws/config") => Ok(CONFIG.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        then(&Places { variable: &variable, file: &file })
    }
}
