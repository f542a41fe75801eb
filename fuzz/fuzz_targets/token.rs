//! Any bytes as a token: nothing is believed but, to the byte, what the issuer
//! signed, and that only as the kind of token that it is.
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
    // A header is text by the time it is in an event.
    let Ok(token) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let presented = || Credential::Token(token.into());
    let good = |tokens: &[&'static str]| Credential::Token(tokens[0].into());

    let none = || Credential::Absent;
    let alone = authenticate(presented(), none(), none());
    check(alone, TokenKind::Access, ACCESS_TOKENS.contains(&token));
    let access = || good(&ACCESS_TOKENS);
    let beside = authenticate(access(), presented(), none());
    let is_customers = CUSTOMER_TOKENS.contains(&token);
    check(beside, TokenKind::Customer, is_customers);
    let beside_both = authenticate(access(), good(&CUSTOMER_TOKENS), presented());
    let is_carts = CART_TOKENS.contains(&token);
    check(beside_both, TokenKind::Cart, is_carts);
    if is_customers || is_carts {
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
        .expect("there is nothing to wait for")
}

fn check(result: Result<Grant, AuthError>, presented: TokenKind, right: bool) {
    match result {
        Ok(grant) => {
            assert!(right, "{grant:?}");
            assert_eq!(grant.client(), "storefront");
            let customer = grant.name() == "customer";
            assert_eq!(customer, presented != TokenKind::Access);
        }
        Err(AuthError::InvalidToken { kind, fault }) => {
            assert!(!right, "{fault:?}");
            assert_eq!(kind, presented);
        }
        Err(other @ (AuthError::NoAccessToken | AuthError::NoKeys { .. })) => panic!("{other:?}"),
    }
}
