//! Any bytes as a token. Only the tokens that the issuer signed are accepted, to the
//! byte, and each only as its kind of token.
#![no_main]

use std::sync::LazyLock;

use cart_associations::auth::{AuthError, Authenticator, Grant, MAX_TOKEN_BYTES, TokenKind};
use cart_associations::request::{Credential, Credentials};
use cart_associations_fuzz::{
    ACCESS_TOKENS, CART, CART_TOKENS, CUSTOMER_TOKENS, KEYS, authenticator, mutate, now,
};
use futures_util::FutureExt as _;
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use tokio::time::Instant;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| authenticator(KEYS));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::token(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| -> Corpus {
    // Headers in an event are text.
    let Ok(token) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let presented = || Credential::Token(token.into());
    let absent = || Credential::Absent;
    let access_token = || Credential::Token(ACCESS_TOKENS[0].into());
    let customer_token = || Credential::Token(CUSTOMER_TOKENS[0].into());

    let result = authenticate(presented(), absent(), absent());
    check(result, TokenKind::Access, ACCESS_TOKENS.contains(&token));
    let result = authenticate(access_token(), presented(), absent());
    let is_customer_token = CUSTOMER_TOKENS.contains(&token);
    check(result, TokenKind::Customer, is_customer_token);
    let result = authenticate(access_token(), customer_token(), presented());
    let is_cart_token = CART_TOKENS.contains(&token);
    check(result, TokenKind::Cart, is_cart_token);
    if is_customer_token || is_cart_token {
        assert!(token.len() <= MAX_TOKEN_BYTES);
    }
    Corpus::Keep
});

fn authenticate(
    access: Credential<'_>,
    customer: Credential<'_>,
    cart: Credential<'_>,
) -> Result<Grant, AuthError> {
    let credentials = Credentials {
        access_token: access,
        customer_token: customer,
        cart_token: cart,
        cart_id: Some(CART),
    };
    AUTHENTICATOR
        .authenticate(&credentials, now(), Instant::now())
        .now_or_never()
        .expect("the keys are inline")
}

fn check(result: Result<Grant, AuthError>, presented: TokenKind, is_valid: bool) {
    match result {
        Ok(grant) => {
            assert!(is_valid, "{grant:?}");
            assert_eq!(grant.client(), "storefront");
            let customer = grant.name() == "customer";
            assert_eq!(customer, presented != TokenKind::Access);
        }
        Err(AuthError::InvalidToken { kind, fault }) => {
            assert!(!is_valid, "{fault:?}");
            assert_eq!(kind, presented);
        }
        Err(other @ (AuthError::NoAccessToken | AuthError::NoKeys { .. })) => panic!("{other:?}"),
    }
}
