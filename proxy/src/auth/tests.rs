//! What verifies, and all that must not. The signer here is written from the specification, apart from
//! the verifier: strings first, then hashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use units::{Timestamp, UnixMillis};

use super::{Authenticator, Credential, CredentialSource, Presented, Refusal, SourceUnavailable};

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// 2015-08-30T12:36:00Z
const NOON: UnixMillis = UnixMillis::new(1_440_938_160_000);
const DATE: &str = "20150830T123600Z";
const BODY: &[u8] = br#"{"TableName":"t","Key":{"pk":{"S":"a"}}}"#;

/// Credentials that a test holds in its hand.
#[derive(Clone, Default)]
pub(crate) struct Keys(Arc<KeysInner>);

#[derive(Default)]
struct KeysInner {
    keys: Mutex<BTreeMap<String, Credential>>,
    down: AtomicBool,
    asked: AtomicUsize,
}

impl Keys {
    pub(crate) fn one() -> Self {
        let keys = Self::default();
        keys.set(true);
        keys
    }

    fn set(&self, active: bool) {
        let credential = Credential { secret_key: SECRET_KEY.into(), principal: Arc::from("alice"), active };
        self.0.keys.lock().insert(ACCESS_KEY.into(), credential);
    }
}

impl CredentialSource for Keys {
    async fn fetch(&self, access_key: &str) -> Result<Option<Credential>, SourceUnavailable> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        if self.0.down.load(Ordering::Relaxed) {
            return Err(SourceUnavailable);
        }
        Ok(self.0.keys.lock().get(access_key).cloned())
    }
}

/// A request before it is signed.
#[derive(Clone)]
pub(crate) struct Unsigned {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) scope: String,
    pub(crate) access_key: &'static str,
    pub(crate) secret_key: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Default for Unsigned {
    fn default() -> Self {
        Self {
            headers: vec![
                ("content-type", "application/x-amz-json-1.0".into()),
                ("host", "localhost:8000".into()),
                ("x-amz-date", DATE.into()),
                ("x-amz-target", "DynamoDB_20120810.GetItem".into()),
            ],
            scope: "20150830/us-east-1/dynamodb/aws4_request".into(),
            access_key: ACCESS_KEY,
            secret_key: SECRET_KEY,
            body: BODY.to_vec(),
        }
    }
}

/// A signed request, as it arrives.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) headers: HeaderMap,
    pub(crate) host: HeaderValue,
    pub(crate) body: Vec<u8>,
}

impl Unsigned {
    pub(crate) fn sign(&self) -> Signed {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        let lines: String = self.headers.iter().map(|(n, v)| format!("{n}:{}\n", normal(v))).collect();
        let names = names.join(";");
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(&self.body)));
        let date = self.headers.iter().find(|(name, _)| *name == "x-amz-date");
        let date = date.map_or("", |(_, value)| value.as_str());
        let hash = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{}\n{hash}", self.scope);
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in self.scope.split('/') {
            key = hmac(&key, part);
        }
        let signature = hex::encode(hmac(&key, &to_sign));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}",
            self.access_key, self.scope
        );
        let mut headers = HeaderMap::new();
        let mut host = HeaderValue::from_static("");
        for (name, value) in self.headers.iter().cloned().chain([("authorization", authorization)]) {
            let value = HeaderValue::from_str(&value).unwrap();
            if name == "host" {
                host = value.clone();
            }
            headers.append(HeaderName::from_static(name), value);
        }
        Signed { headers, host, body: self.body.clone() }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(held, _)| *held != name);
        self.headers.push((name, value.into()));
        self.headers.sort();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(held, _)| *held != name);
        self
    }
}

/// A moment as `X-Amz-Date` has it.
pub(crate) fn date(at: UnixMillis) -> String {
    let seconds = i64::try_from(at.get() / 1000).unwrap();
    super::signing_time::format(time::OffsetDateTime::from_unix_timestamp(seconds).unwrap())
}

fn normal(value: &str) -> String {
    value.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.chain_update(text.as_bytes()).finalize().into_bytes().to_vec()
}

async fn verify(request: &Signed) -> Result<Arc<str>, Refusal> {
    verify_with(&Authenticator::new(Keys::one(), None, false), request, Timestamp::default()).await
}

async fn verify_with(
    authenticator: &Authenticator<Keys>,
    request: &Signed,
    now: Timestamp,
) -> Result<Arc<str>, Refusal> {
    let presented = Presented { headers: &request.headers, host: &request.host, body: &request.body };
    authenticator.authenticate(presented, now, NOON).await
}

fn refused(result: Result<Arc<str>, Refusal>) -> &'static str {
    result.unwrap_err().cause()
}

#[tokio::test]
async fn what_is_signed_by_the_specification_verifies() {
    assert_eq!(verify(&Unsigned::default().sign()).await.as_deref(), Ok("alice"));
    let more = Unsigned::default()
        .with("x-amz-user-agent", "  aws-sdk-js/3   ua/2 ")
        .with("amz-sdk-request", "attempt=1; max=3");
    assert_eq!(verify(&more.sign()).await.as_deref(), Ok("alice"));
}

/// botocore 1.43 signed this request: an oracle that shares no code with either signer here.
#[tokio::test]
async fn the_signature_is_the_one_that_the_definition_gives_by_hand() {
    let signed = Unsigned::default().sign();
    let text = signed.headers["authorization"].to_str().unwrap();
    assert!(text.starts_with(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
    ));
    assert!(text.ends_with(BOTOCORE), "{text}");
}

/// Made by `botocore.auth.SigV4Auth` with its clock at [`DATE`].
const BOTOCORE: &str = "2821ac9bbd946f7efde4cd544ad500254ebd99cf3e27f9adb863ca02d649fd86";

#[tokio::test]
async fn any_signed_byte_changed_is_refused() {
    let authenticator = Authenticator::new(Keys::one(), None, false);
    let good = Unsigned::default().sign();
    assert!(verify_with(&authenticator, &good, Timestamp::default()).await.is_ok());
    let mut tried = 0;
    for at in 0..good.body.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad.body[at] ^= 1 << bit;
            assert!(verify_with(&authenticator, &bad, Timestamp::default()).await.is_err());
            tried += 1;
        }
    }
    for (name, value) in &good.headers {
        for at in 0..value.len() {
            for bit in 0..7 {
                let mut changed = value.as_bytes().to_vec();
                changed[at] ^= 1 << bit;
                // Spaces around the header's parts carry no meaning, and nothing depends on them.
                let Ok(changed) = HeaderValue::from_bytes(&changed) else { continue };
                let mut bad = good.clone();
                bad.headers.insert(name, changed.clone());
                if name == "host" {
                    bad.host = changed;
                }
                let verdict = verify_with(&authenticator, &bad, Timestamp::default()).await;
                assert!(verdict.is_err(), "{name} byte {at} bit {bit}");
                tried += 1;
            }
        }
    }
    assert!(tried > 2000, "{tried}");
}

#[tokio::test]
async fn what_must_be_signed_must_be_signed() {
    for name in ["host", "x-amz-date", "x-amz-target"] {
        let unsigned = Unsigned::default().without(name);
        let mut late = unsigned.sign();
        let value = Unsigned::default().headers.iter().find(|(n, _)| *n == name).unwrap().1.clone();
        late.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        late.host = HeaderValue::from_static("localhost:8000");
        assert!(matches!(verify(&late).await, Err(Refusal::Unsigned(missing)) if *missing == *name));
    }
    let mut late = Unsigned::default().sign();
    late.headers.insert("x-amz-anything", "1".parse().unwrap());
    assert_eq!(refused(verify(&late).await), "unsigned");
}

#[tokio::test]
async fn a_signed_header_occurs_exactly_once() {
    for name in ["x-amz-date", "x-amz-target", "content-type", "authorization"] {
        let mut twice = Unsigned::default().sign();
        let value = twice.headers[name].clone();
        twice.headers.append(HeaderName::from_static(name), value);
        assert!(verify(&twice).await.is_err(), "{name}");
    }
    let mut gone = Unsigned::default().sign();
    gone.headers.remove("content-type");
    assert_eq!(refused(verify(&gone).await), "mismatch");
    let mut doubled = Unsigned::default();
    doubled.headers.push(("x-amz-target", "DynamoDB_20120810.GetItem".into()));
    assert!(verify(&doubled.sign()).await.is_err());
}

#[tokio::test]
async fn the_scope_is_exact() {
    for scope in [
        "20150831/us-east-1/dynamodb/aws4_request",
        "20150830//dynamodb/aws4_request",
        "20150830/us-east-1/s3/aws4_request",
        "20150830/us-east-1/dynamodb/aws4_reques",
    ] {
        let request = Unsigned { scope: scope.into(), ..Unsigned::default() };
        assert_eq!(refused(verify(&request.sign()).await), "scope", "{scope}");
    }
    for scope in ["20150830/us-east-1/dynamodb", "20150830/us-east-1/dynamodb/aws4_request/x", ""] {
        let request = Unsigned { scope: scope.into(), ..Unsigned::default() };
        assert_eq!(refused(verify(&request.sign()).await), "malformed", "{scope}");
    }
    let elsewhere = Authenticator::new(Keys::one(), Some("eu-central-1".into()), false);
    let request = Unsigned::default().sign();
    assert_eq!(refused(verify_with(&elsewhere, &request, Timestamp::default()).await), "scope");
}

#[tokio::test]
async fn missing_and_malformed_authorizations_have_their_own_exceptions() {
    let mut none = Unsigned::default().sign();
    none.headers.remove("authorization");
    assert_eq!(verify(&none).await, Err(Refusal::Missing));
    for (value, cause) in [
        ("", "incomplete"),
        ("Basic dXNlcjpwYXNz", "incomplete"),
        ("AWS4-HMAC-SHA256", "incomplete"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e", "incomplete"),
        ("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=00", "malformed"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=00, X=1", "malformed"),
        ("AWS4-HMAC-SHA256 Signature=0, Credential=a/b/c/d/e, SignedHeaders=host, Signature=0", "malformed"),
    ] {
        let mut bad = Unsigned::default().sign();
        bad.headers.insert("authorization", HeaderValue::from_str(value).unwrap());
        assert_eq!(refused(verify(&bad).await), cause, "{value}");
    }
    let error = verify(&Unsigned::default().without("x-amz-date").sign()).await.unwrap_err().into_error();
    assert!(error.message.contains("requires existence of either a 'X-Amz-Date'"), "{error}");
}

#[tokio::test]
async fn a_wrong_secret_an_unknown_key_and_an_inactive_one_are_told_apart_as_dynamodb_does() {
    let wrong = Unsigned { secret_key: "wrong", ..Unsigned::default() };
    assert_eq!(verify(&wrong.sign()).await, Err(Refusal::Mismatch));
    let unknown = Unsigned { access_key: "NOBODY", ..Unsigned::default() };
    assert_eq!(verify(&unknown.sign()).await, Err(Refusal::UnknownKey));
    let keys = Keys::one();
    keys.set(false);
    let authenticator = Authenticator::new(keys, None, false);
    let verdict = verify_with(&authenticator, &Unsigned::default().sign(), Timestamp::default()).await;
    assert_eq!(verdict, Err(Refusal::UnknownKey));
    let session = Unsigned::default().with("x-amz-security-token", "t");
    assert_eq!(verify(&session.sign()).await, Err(Refusal::UnknownKey));
}

#[tokio::test]
async fn a_claimed_body_hash_must_be_the_bodys() {
    let hash = hex::encode(Sha256::digest(BODY));
    assert!(verify(&Unsigned::default().with("x-amz-content-sha256", &hash).sign()).await.is_ok());
    for claim in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""] {
        let request = Unsigned::default().with("x-amz-content-sha256", claim);
        assert_eq!(verify(&request.sign()).await, Err(Refusal::Mismatch), "{claim}");
    }
}

#[tokio::test]
async fn drop_in_use_takes_any_key_but_not_none() {
    let authenticator = Authenticator::new(Keys::default(), None, true);
    let wrong = Unsigned { access_key: "fake", secret_key: "fake", ..Unsigned::default() };
    let verdict = verify_with(&authenticator, &wrong.sign(), Timestamp::default()).await;
    assert_eq!(verdict.as_deref(), Ok("fake"));
    let mut none = wrong.sign();
    none.headers.remove("authorization");
    assert_eq!(verify_with(&authenticator, &none, Timestamp::default()).await, Err(Refusal::Missing));
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_nanos(3_600_000_000_000) + Duration::from_secs(secs)
}

#[tokio::test]
async fn a_known_key_costs_its_source_nothing() {
    let keys = Keys::one();
    let authenticator = Authenticator::new(keys.clone(), None, false);
    let request = Unsigned::default().sign();
    for second in 0..10 {
        assert!(verify_with(&authenticator, &request, at(second)).await.is_ok());
    }
    assert_eq!(keys.0.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_revoked_key_works_for_less_than_a_minute() {
    let keys = Keys::one();
    let authenticator = Authenticator::new(keys.clone(), None, false);
    let request = Unsigned::default().sign();
    assert!(verify_with(&authenticator, &request, at(0)).await.is_ok());
    keys.set(false);
    // Unused since: nothing has refreshed it in the background.
    assert_eq!(verify_with(&authenticator, &request, at(60)).await, Err(Refusal::UnknownKey));
}

#[tokio::test]
async fn a_used_key_is_refreshed_without_anybody_waiting() {
    let keys = Keys::one();
    let authenticator = Authenticator::new(keys.clone(), None, false);
    let request = Unsigned::default().sign();
    assert!(verify_with(&authenticator, &request, at(0)).await.is_ok());
    keys.set(false);
    assert!(verify_with(&authenticator, &request, at(20)).await.is_ok());
    while keys.0.asked.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(verify_with(&authenticator, &request, at(21)).await, Err(Refusal::UnknownKey));
}

#[tokio::test]
async fn known_keys_outlive_an_outage_and_unknown_ones_wait_for_its_end() {
    let keys = Keys::one();
    let authenticator = Authenticator::new(keys.clone(), None, false);
    let request = Unsigned::default().sign();
    assert!(verify_with(&authenticator, &request, at(0)).await.is_ok());
    keys.0.down.store(true, Ordering::Relaxed);
    for second in [20, 60, 61, 600, 3500] {
        assert!(verify_with(&authenticator, &request, at(second)).await.is_ok(), "{second}");
    }
    assert_eq!(verify_with(&authenticator, &request, at(3601)).await, Err(Refusal::SourceUnavailable));
    let unseen = Unsigned { access_key: "UNSEEN", ..Unsigned::default() }.sign();
    assert_eq!(verify_with(&authenticator, &unseen, at(5)).await, Err(Refusal::SourceUnavailable));
}

#[tokio::test]
async fn an_unknown_key_is_remembered_briefly() {
    let keys = Keys::default();
    let authenticator = Authenticator::new(keys.clone(), None, false);
    let request = Unsigned::default().sign();
    for second in [0, 1, 2] {
        assert_eq!(verify_with(&authenticator, &request, at(second)).await, Err(Refusal::UnknownKey));
    }
    assert_eq!(keys.0.asked.load(Ordering::Relaxed), 1);
    keys.set(true);
    assert!(verify_with(&authenticator, &request, at(4)).await.is_ok());
}
