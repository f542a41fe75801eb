//! Any header and any claims with a correct signature, as each kind of token. An
//! input of two lines, the header and the claims, becomes a token. It is accepted
//! only if code in this target, which is independent of the function's, agrees.
#![no_main]

use std::sync::LazyLock;

use cart_associations_fuzz::{
    ACCESS, CART, Function, Issuer, Members, NOW, OF_CARTS, OF_CUSTOMERS, fill, is_id, mutate, text,
};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde_json::value::RawValue;

/// A POST with tokens of all kinds.
const REQUEST: &str = include_str!("../seeds/event/cart-token");

static FUNCTION: LazyLock<Function> = LazyLock::new(Function::start);

static TOKENS: LazyLock<[(&str, String); 4]> = LazyLock::new(|| {
    let tokens = FUNCTION.tokens();
    assert_eq!(status(fill(REQUEST, &tokens)), 200, "with valid tokens");
    tokens
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::json_lines(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return Corpus::Reject;
    };
    let (header, claims) = (&data[..end], &data[end + 1..]);
    let token = FUNCTION.sign(header, claims);
    for kind in [ACCESS, OF_CUSTOMERS, OF_CARTS] {
        let request = REQUEST.replace(kind.placeholder, &token);
        let status = status(fill(&request, &*TOKENS));
        assert!([200, 401, 403].contains(&status), "{status} for {kind:?}");
        let accepted = status != 401;
        assert!(!accepted || is_valid(header, claims, &kind), "{kind:?}");
    }
    Corpus::Keep
});

fn status(event: String) -> u64 {
    let event = RawValue::from_string(event).expect("JSON");
    let (answer, _) = FUNCTION.answer(event);
    answer["statusCode"].as_u64().expect("a status")
}

/// Returns whether a token may be accepted as this kind.
fn is_valid(header: &[u8], claims: &[u8], kind: &Issuer) -> bool {
    let members = |part| serde_json::from_slice::<Members<'_>>(part).ok();
    let (Some(header), Some(claims)) = (members(header), members(claims)) else {
        return false;
    };
    let alg = text(&header, "alg").unwrap_or_default();
    let kid = text(&header, "kid").unwrap_or_default();
    // A member that is `null` counts as absent.
    let has = |members: &Members<'_>, name: &str| {
        let value = members.get(name);
        value.is_some_and(|value| value.get() != "null")
    };
    let aud = if has(&claims, "aud") {
        "aud"
    } else {
        "client_id"
    };
    let audiences = match text(&claims, aud) {
        Some(one) => vec![one],
        None => claims.get(aud).map_or_else(Vec::new, |aud| texts(aud)),
    };
    let typ = text(&header, "typ")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_jwt = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"].contains(&&*typ);
    let time = |name: &str| serde_json::from_str::<f64>(claims.get(name)?.get()).ok();
    let subject = text(&claims, "sub").unwrap_or_default();
    ["EdDSA", "Ed25519"].contains(&&*alg)
        && ["", "1"].contains(&&*kid)
        && !header.contains_key("crit")
        && (is_jwt || !has(&header, "typ"))
        && !has(&claims, "cnf")
        && !has(&claims, "events")
        && text(&claims, "iss").is_some_and(|issuer| issuer == kind.issuer)
        && audiences.iter().any(|audience| audience == kind.audience)
        && time("exp").is_some_and(|exp| exp > NOW as f64 - 30.0)
        && time("nbf").is_none_or(|nbf| nbf <= NOW as f64 + 30.0)
        && (kind.placeholder != OF_CUSTOMERS.placeholder || is_id(&subject))
        && (kind.placeholder != OF_CARTS.placeholder || subject == CART)
}

/// The texts of an array, whose other members count as empty.
fn texts(array: &RawValue) -> Vec<String> {
    let members: Vec<&RawValue> = serde_json::from_str(array.get()).unwrap_or_default();
    let text = |member: &&RawValue| serde_json::from_str(member.get()).unwrap_or_default();
    members.iter().map(text).collect()
}
