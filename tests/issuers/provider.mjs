// An issuer made with oidc-provider: `node provider.mjs PORT LOGOUT_URL`, with the package's folder in OIDC_PROVIDER. Each
// start has a new key. Anybody signs in under the name that they type.
import { generateKeyPairSync, randomUUID } from 'node:crypto';

const { Provider } = await import(`${process.env.OIDC_PROVIDER}/node_modules/oidc-provider/lib/index.js`);
const [port, logoutUrl] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'ES256', use: 'sig' };

const page = (client_id, scope) => ({
    client_id,
    scope,
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code'],
    redirect_uris: ['http://127.0.0.1/signed-in'],
    application_type: 'native',
    id_token_signed_response_alg: 'ES256',
});
const machine = (client_id, scope) => ({
    client_id,
    scope,
    client_secret: 'a secret for tests',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    id_token_signed_response_alg: 'ES256',
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys: [key] },
    scopes: ['openid', 'carts:back-end'],
    clients: [
        { ...page('web-shop', 'openid'), backchannel_logout_uri: logoutUrl },
        page('blog', 'openid'),
        // Its users can ask for the scope of back ends, as with an issuer that lets every client ask for every scope.
        page('kiosk', 'openid carts:back-end'),
        machine('orders', 'carts:back-end'),
        machine('reports', 'openid'),
    ],
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    features: {
        backchannelLogout: { enabled: true },
        clientCredentials: { enabled: true },
        dPoP: { enabled: true },
        resourceIndicators: {
            enabled: true,
            getResourceServerInfo: (_, resource) => ({
                audience: resource,
                accessTokenTTL: 300,
                accessTokenFormat: 'jwt',
                jwt: { sign: { alg: 'ES256' } },
                scope: 'carts:back-end',
            }),
        },
    },
    // It would not send logout tokens to this machine.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
provider.on('server_error', (_, error) => console.error(error));
provider.listen(port, '127.0.0.1');
