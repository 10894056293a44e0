//! `X-Amz-Date`: when a request was signed, and whether that is close enough to now.

use hyper::header::HeaderValue;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time};
use units::UnixMillis;

use super::authorization::ascii;
use super::refusal::Refusal;

const FORMAT: StaticFormatDescription = format_description!("[year][month][day]T[hour][minute][second]Z");

/// How far the client's clock may be from ours. Source: AWS, "Troubleshooting Signature Version 4".
const TOLERANCE: Duration = Duration::minutes(5);

/// When a request says that it was signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SigningTime<'a> {
    text: &'a str,
    at: OffsetDateTime,
}

impl<'a> SigningTime<'a> {
    pub(super) fn parse(value: &'a HeaderValue) -> Result<Self, Refusal> {
        let text = ascii(value).ok_or(Refusal::Malformed)?;
        let at = read(text.as_bytes()).ok_or(Refusal::Malformed)?.assume_utc();
        Ok(Self { text, at })
    }

    /// As it came: part of what is signed.
    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    /// `YYYYMMDD`, which the scope repeats.
    pub(super) fn date(&self) -> &'a str {
        &self.text[..8]
    }

    /// Refuses what was signed too long ago, or is not yet valid.
    pub(super) fn check(&self, now: UnixMillis) -> Result<(), Refusal> {
        let seconds = i64::try_from(now.get() / 1000).unwrap_or(i64::MAX);
        if self.at.unix_timestamp().abs_diff(seconds) <= TOLERANCE.whole_seconds().unsigned_abs() {
            return Ok(());
        }
        let now = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Refusal::Malformed)?;
        if self.at < now - TOLERANCE {
            let (limit, now) = (format(now - TOLERANCE), format(now));
            return Err(Refusal::Skewed(
                format!("Signature expired: {} is now earlier than {limit} ({now} - 5 min.)", self.text)
                    .into(),
            ));
        }
        if self.at > now + TOLERANCE {
            let (limit, now) = (format(now + TOLERANCE), format(now));
            return Err(Refusal::Skewed(
                format!(
                    "Signature not yet current: {} is still later than {limit} ({now} + 5 min.)",
                    self.text
                )
                .into(),
            ));
        }
        Ok(())
    }
}

/// Reads `YYYYMMDDThhmmssZ`. By hand, since a general parser costs more than the signature's hash.
fn read(text: &[u8]) -> Option<PrimitiveDateTime> {
    let [date @ .., b'Z'] = text else { return None };
    let (date, time) = date.split_at_checked(8)?;
    let [b'T', time @ ..] = time else { return None };
    let (year, month, day) = (number(date.get(..4)?)?, number(date.get(4..6)?)?, number(date.get(6..)?)?);
    let [hour, minute, second] = [time.get(..2)?, time.get(2..4)?, time.get(4..)?].map(number);
    if time.len() != 6 {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    let part = |number: Option<u16>| u8::try_from(number?).ok();
    Some(PrimitiveDateTime::new(date, Time::from_hms(part(hour)?, part(minute)?, part(second)?).ok()?))
}

/// Up to four decimal digits.
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')))
}

pub(super) fn format(at: OffsetDateTime) -> String {
    at.format(FORMAT).expect("the format needs nothing that a date and time lack")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-08-30T12:36:00Z
    const NOON: u64 = 1_440_938_160;

    fn check(text: &'static str, now: u64) -> Result<(), Refusal> {
        let value = HeaderValue::from_static(text);
        SigningTime::parse(&value)?.check(UnixMillis::new(now * 1000))
    }

    #[test]
    fn five_minutes_either_way_are_accepted_and_no_more() {
        for now in [NOON - 300, NOON, NOON + 300] {
            assert_eq!(check("20150830T123600Z", now), Ok(()));
        }
        assert_eq!(
            check("20150830T123600Z", NOON + 301),
            Err(Refusal::Skewed(
                "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
                 (20150830T124101Z - 5 min.)"
                    .into()
            ))
        );
        assert_eq!(
            check("20150830T123600Z", NOON - 301),
            Err(Refusal::Skewed(
                "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z \
                 (20150830T123059Z + 5 min.)"
                    .into()
            ))
        );
    }

    #[test]
    fn only_the_basic_format_is_a_date() {
        for text in [
            "",
            "20150830",
            "2015-08-30T12:36:00Z",
            "20150830T123600",
            "20150830T123600z",
            "20151330T123600Z",
            "20150830T123660Z",
            "+2015830T123600Z",
            "20150830T1236000",
            "Sun, 30 Aug 2015 12:36:00 GMT",
        ] {
            assert_eq!(check(text, NOON), Err(Refusal::Malformed), "{text}");
        }
    }
}
