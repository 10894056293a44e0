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
///
/// Nobody has been authenticated yet: the shape is checked before a digit is read.
fn read(text: &[u8]) -> Option<PrimitiveDateTime> {
    let &[y0, y1, y2, y3, m0, m1, d0, d1, b'T', h0, h1, min0, min1, s0, s1, b'Z'] =
        <&[u8; 16]>::try_from(text).ok()?
    else {
        return None;
    };
    let year = i32::from(two_digits(y0, y1)?) * 100 + i32::from(two_digits(y2, y3)?);
    let month = Month::try_from(two_digits(m0, m1)?).ok()?;
    let date = Date::from_calendar_date(year, month, two_digits(d0, d1)?).ok()?;
    let time = Time::from_hms(two_digits(h0, h1)?, two_digits(min0, min1)?, two_digits(s0, s1)?).ok()?;
    Some(PrimitiveDateTime::new(date, time))
}

/// At most 99, so that no sum of it overflows.
fn two_digits(tens: u8, ones: u8) -> Option<u8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    Some(digit(tens)? * 10 + digit(ones)?)
}

pub(super) fn format(at: OffsetDateTime) -> String {
    at.format(FORMAT).expect("the format needs nothing that a date and time lack")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            // Fields of any length, which once overflowed.
            "20150830T1236999999999Z",
            "20150830T9999999999999999999999999999999999Z",
            "99999999999999999999999999999999T123600Z",
            "2015083T1236000Z",
            "2015O830T123600Z",
            "20150830T12 600Z",
            "20150830 123600Z",
            // No such day or time.
            "20150030T123600Z",
            "20150800T123600Z",
            "20150832T123600Z",
            "20150230T123600Z",
            "20150229T123600Z",
            "20150830T243600Z",
            "20150830T126000Z",
        ] {
            assert_eq!(check(text, NOON), Err(Refusal::Malformed), "{text}");
        }
    }

    #[test]
    fn the_29th_of_february_is_a_date_in_leap_years() {
        assert!(read(b"20160229T235959Z").is_some() && read(b"21000229T235959Z").is_none());
    }

    /// What the general parser reads, of the length that AWS prescribes: it would take a signed year too.
    fn by_the_general_parser(text: &str) -> Option<PrimitiveDateTime> {
        PrimitiveDateTime::parse(text, FORMAT).ok().filter(|_| text.len() == 16)
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_read_as_the_general_parser_reads_it(text in "[ -~]{0,40}") {
            prop_assert_eq!(read(text.as_bytes()), by_the_general_parser(&text));
        }

        #[test]
        fn digits_of_any_number_are_read_as_the_general_parser_reads_them(
            text in "[0-9]{0,9}T?[0-9]{0,30}Z?",
        ) {
            prop_assert_eq!(read(text.as_bytes()), by_the_general_parser(&text));
        }

        #[test]
        fn near_dates_are_read_as_the_general_parser_reads_them(
            text in "[0-9]{4}[01][0-9][0-3][0-9]T[0-2][0-9][0-6][0-9][0-6][0-9]Z",
        ) {
            prop_assert_eq!(read(text.as_bytes()), by_the_general_parser(&text));
        }
    }
}
