//! How calls to DynamoDB are signed, as they leave: the engines here look at no
//! signature.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use time::{Date, Month, Time, UtcDateTime};

use crate::support::proxy::{Fault, Plan, Proxy, Recorded};
use crate::support::{RON, World, credentials, engine};

async fn world_behind_a_proxy() -> (World, Proxy) {
    let proxy = Proxy::start(engine()).await;
    let world = World::new().await;
    let world = World::on(&[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.endpoint)], &world).await;
    (world, proxy)
}

impl Recorded {
    fn signed_at(&self) -> SystemTime {
        let date = &self.headers["x-amz-date"];
        let number = |range: std::ops::Range<usize>| date[range].parse::<u16>().unwrap();
        let small = |range| u8::try_from(number(range)).unwrap();
        let month = Month::try_from(small(4..6)).unwrap();
        let day = Date::from_calendar_date(number(0..4).into(), month, small(6..8)).unwrap();
        let time = Time::from_hms(small(9..11), small(11..13), small(13..15)).unwrap();
        UtcDateTime::new(day, time).into()
    }

    fn signed_headers(&self) -> Vec<&str> {
        let (_, names) = self.headers["authorization"]
            .split_once("SignedHeaders=")
            .unwrap();
        let (names, _) = names.split_once(',').unwrap();
        names.split(';').collect()
    }

    /// Whether AWS's own signer comes to the same signature.
    fn has_good_signature(&self) -> bool {
        let identity = credentials().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("dynamodb")
            .time(self.signed_at())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let uri = format!("http://{}/", self.headers["host"]);
        let given = self.signed_headers();
        let given = given
            .iter()
            .filter(|name| !["host", "x-amz-date", "x-amz-security-token"].contains(name))
            .map(|name| (*name, self.headers[*name].as_str()));
        let body = SignableBody::Bytes(&self.bytes);
        let request = SignableRequest::new("POST", uri, given, body).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        instructions
            .headers()
            .any(|header| header == ("authorization", &self.headers["authorization"]))
    }
}

#[tokio::test]
async fn every_call_has_a_good_signature_of_all_that_matters() {
    let (world, proxy) = world_behind_a_proxy().await;
    world.associate("cart", &[RON]).send().await.created(&[RON]);
    world
        .associate("cart", &[RON, "b"])
        .send()
        .await
        .created(&[RON, "b"]);
    world.dissociate("cart", &["b"]).send().await.unchanged();
    proxy.next(
        Plan {
            fault: Fault::Refused("ThrottlingException"),
            after_commit: false,
        },
        1,
    );
    world.dissociate("cart", &[RON]).send().await.unchanged();
    let calls = proxy.take_recorded();
    let operations: Vec<&str> = calls.iter().map(|call| &*call.operation).collect();
    let [reached, rest @ ..] = &*operations else {
        panic!("no call came");
    };
    assert_eq!(*reached, "GetItem");
    assert_eq!(rest.iter().filter(|name| **name == "DeleteItem").count(), 3);
    for call in &calls {
        assert!(call.has_good_signature(), "{call:?}");
        for name in call.headers.keys() {
            let matters = name == "host" || name == "content-type" || name.starts_with("x-amz-");
            let is_signed = call.signed_headers().contains(&name.as_str());
            assert!(is_signed || !matters, "{name} in {call:?}");
        }
        // The SDK signs this too: what it signs is known by it.
        let by_sdk = call.signed_headers().contains(&"content-length");
        let is_first = call.headers["amz-sdk-request"].starts_with("attempt=1;");
        assert_eq!(by_sdk, !is_first, "{call:?}");
        let ago = SystemTime::now().duration_since(call.signed_at()).unwrap();
        assert!(ago < Duration::from_secs(60), "{call:?}");
        let token = call.headers.get("x-amz-security-token");
        assert_eq!(token.map(String::as_str), credentials().session_token());
    }
}

#[tokio::test]
async fn every_call_names_the_caller_as_the_sdk_does_and_the_first_alone_twice() {
    let (world, proxy) = world_behind_a_proxy().await;
    world.associate("cart", &[RON]).send().await.created(&[RON]);
    world.associate("cart", &[RON]).send().await.unchanged();
    let calls = proxy.take_recorded();
    assert_eq!(calls.len(), 3);
    for (index, call) in calls.iter().enumerate() {
        let name = &call.headers["user-agent"];
        assert!(name.starts_with("aws-sdk-rust/"), "{name}");
        assert_eq!(*name, calls[0].headers["user-agent"]);
        let is_twice = call.headers.contains_key("x-amz-user-agent");
        assert_eq!(is_twice, index == 0, "{call:?}");
    }
}

/// The next call meets a DynamoDB whose clock is this far ahead.
fn clock_ahead(by: Duration) -> Plan {
    Plan {
        fault: Fault::ClockAhead(by),
        after_commit: false,
    }
}

#[tokio::test]
async fn a_wrong_clock_costs_one_attempt_and_no_more() {
    let (world, proxy) = world_behind_a_proxy().await;
    proxy.take_recorded();
    let hour = Duration::from_secs(60 * 60);
    proxy.next(clock_ahead(hour), 1);
    world.associate("cart", &[RON]).send().await.created(&[RON]);
    let calls = proxy.take_recorded();
    let [first, second] = &*calls else {
        panic!("not two calls: {calls:?}");
    };
    assert!(second.has_good_signature(), "{second:?}");
    let corrected = second.signed_at().duration_since(first.signed_at());
    let off = corrected.unwrap().abs_diff(hour);
    assert!(off < Duration::from_secs(60), "{off:?}");

    // The next call is right at once, and its answer says that the clock is, too.
    proxy.next(clock_ahead(Duration::ZERO), 1);
    world.associate("other", &[RON]).send().await;
    let calls = proxy.take_recorded();
    let ahead = calls[0].signed_at().duration_since(SystemTime::now());
    assert!(ahead.unwrap().abs_diff(hour) < Duration::from_secs(60));
    for is_by_sdk in [true, false] {
        world.associate("other", &[RON]).send().await;
        let calls = proxy.take_recorded();
        let signed = calls[0].signed_headers();
        assert_eq!(signed.contains(&"content-length"), is_by_sdk);
        assert!(calls[0].signed_at() <= SystemTime::now());
    }
}

#[tokio::test]
async fn a_signature_that_is_refused_at_the_right_time_is_not_tried_again() {
    let (world, proxy) = world_behind_a_proxy().await;
    proxy.take_recorded();
    proxy.next(clock_ahead(Duration::ZERO), 1);
    let answer = world.associate("cart", &[RON]).send().await;
    answer.refused(500, "internal_error");
    assert_eq!(proxy.take_recorded().len(), 1);
}
