//! Any bytes as a token. Only the tokens that the issuer signed are accepted, to the
//! byte, and each only as its kind of token.
#![no_main]

use std::sync::LazyLock;

use cart_associations::auth::{AuthError, Authenticator, Grant, MAX_TOKEN_BYTES, TokenKind};
use cart_associations::request::{Credential, Credentials};
use cart_associations_fuzz::{
    ACCESS_TOKENS, CUSTOMER_TOKENS, KEYS, clock, config, http, mutate, now, policies,
};
use futures_util::FutureExt as _;
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use tokio::time::Instant;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let (access, customer) = policies(KEYS);
    let http = http(&config());
    Authenticator::new(access, customer, "grant_type".to_owned(), &http, &clock())
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::token(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| -> Corpus {
    // Headers in an event are text.
    let Ok(token) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let presented = || Credential::Token(token.into());
    let valid_access_token = Credential::Token(ACCESS_TOKENS[0].into());

    let result = authenticate(presented(), Credential::Absent);
    check(result, TokenKind::Access, ACCESS_TOKENS.contains(&token));
    let result = authenticate(valid_access_token, presented());
    let is_valid = CUSTOMER_TOKENS.contains(&token);
    check(result, TokenKind::Customer, is_valid);
    if is_valid {
        assert!(token.len() <= MAX_TOKEN_BYTES);
    }
    Corpus::Keep
});

fn authenticate(access: Credential<'_>, customer: Credential<'_>) -> Result<Grant, AuthError> {
    let credentials = Credentials {
        access_token: access,
        customer_token: customer,
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
            assert_eq!(customer, presented == TokenKind::Customer);
        }
        Err(AuthError::InvalidToken { kind, fault }) => {
            assert!(!is_valid, "{fault:?}");
            assert_eq!(kind, presented);
        }
        Err(other @ (AuthError::NoAccessToken | AuthError::NoKeys { .. })) => panic!("{other:?}"),
    }
}
