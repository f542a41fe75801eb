// Calls each route with the client that `@hey-api/openapi-ts` generates and the settings that docs/api.md shows.

import assert from "node:assert/strict";
import test from "node:test";

import * as sdk from "./client/sdk.gen";
import type { ErrorCode } from "./client";
import { storefront } from "./documented";

const { API_URL, ACCESS_TOKEN, BACK_END_TOKEN, CUSTOMER_TOKEN, CUSTOMER, ACCOUNT_TOKEN, ACCOUNT } =
  process.env as Record<string, string>;
const asCustomer = storefront(API_URL, ACCESS_TOKEN, { "x-moltin-customer-token": CUSTOMER_TOKEN });
const asAccount = storefront(API_URL, ACCESS_TOKEN, { "EP-Account-Management-Authentication-Token": ACCOUNT_TOKEN });
const backEnd = storefront(API_URL, BACK_END_TOKEN);

const path = { cartId: "generated-1" };
const body = { data: [{ type: "customer" as const, id: CUSTOMER }] };
const accounts = { data: [{ type: "account" as const, id: ACCOUNT }] };
const nobody = { data: [] };

// A route without a call here does not compile.
const calls: Record<keyof typeof sdk, () => Promise<void>> = {
  async associateCustomers() {
    await sdk.dissociateCustomers({ client: backEnd, path, body });
    const created = await sdk.associateCustomers({ client: asCustomer, path, body });
    assert.equal(created.response.status, 200);
    assert.deepEqual(created.data, body);
    const repeated = await sdk.associateCustomers({ client: asCustomer, path, body });
    assert.equal(repeated.response.status, 204);
    const headers = { Prefer: "return=representation" };
    const shown = await sdk.associateCustomers({ client: asCustomer, path, body, headers });
    assert.equal(shown.response.status, 200);
    assert.deepEqual(shown.data, body);
  },

  async listCartCustomers() {
    await associate("generated-1");
    const { data, response } = await sdk.listCartCustomers({ client: asCustomer, path });
    assert.equal(response.status, 200);
    assert.deepEqual(data?.data.map(({ type, id }) => ({ type, id })), body.data);
    assert.equal(data?.meta.page.limit, 25);
  },

  async listOwnCarts() {
    await associate("generated-1");
    await associate("generated-2");
    const carts: string[] = [];
    for (let after: string | undefined, more = true; more; ) {
      const query = { "page[limit]": 1, "page[after]": after };
      const { data } = await sdk.listOwnCarts({ client: asCustomer, query });
      assert(data);
      carts.push(...data.data.map(({ id }) => id));
      const { next } = data.links;
      more = next !== undefined;
      after = new URL(next ?? "", API_URL).searchParams.get("page[after]") ?? undefined;
    }
    assert.deepEqual(carts.slice(0, 2), ["generated-2", "generated-1"]);
  },

  async listCustomerCarts() {
    await associate("generated-1");
    const customer = { customerId: CUSTOMER };
    const { data } = await sdk.listCustomerCarts({ client: backEnd, path: customer });
    assert(data?.data.some(({ type, id }) => type === "cart" && id === path.cartId));
    // A storefront has no need of it, but may.
    assert.deepEqual((await sdk.listCustomerCarts({ client: asCustomer, path: customer })).data, data);
  },

  async dissociateCustomers() {
    await associate("generated-1");
    const { response } = await sdk.dissociateCustomers({ client: asCustomer, path, body });
    assert.equal(response.status, 204);
    const { data } = await sdk.listCartCustomers({ client: backEnd, path });
    assert.deepEqual(data?.data, []);
  },

  async clearCartCustomers() {
    await associate("generated-1");
    // A customer may not, whatever their carts are.
    const refused = await sdk.clearCartCustomers({ client: asCustomer, path, body: nobody });
    assert.equal(refused.response.status, 403);
    const { response } = await sdk.clearCartCustomers({ client: backEnd, path, body: nobody });
    assert.equal(response.status, 204);
    const { data } = await sdk.listCartCustomers({ client: backEnd, path });
    assert.deepEqual(data?.data, []);
  },

  async clearCustomerCarts() {
    await associate("generated-1");
    const customer = { customerId: CUSTOMER };
    const { response } = await sdk.clearCustomerCarts({ client: asCustomer, path: customer, body: nobody });
    assert.equal(response.status, 204);
    const { data } = await sdk.listCustomerCarts({ client: backEnd, path: customer });
    assert.deepEqual(data?.data, []);
  },

  async associateAccounts() {
    await sdk.dissociateAccounts({ client: backEnd, path, body: accounts });
    const created = await sdk.associateAccounts({ client: asAccount, path, body: accounts });
    assert.equal(created.response.status, 200);
    assert.deepEqual(created.data, accounts);
    const repeated = await sdk.associateAccounts({ client: asAccount, path, body: accounts });
    assert.equal(repeated.response.status, 204);
  },

  async listCartAccounts() {
    await associateAccount();
    const { data } = await sdk.listCartAccounts({ client: asAccount, path });
    assert.deepEqual(data?.data.map(({ type, id }) => ({ type, id })), accounts.data);
  },

  async listAccountCarts() {
    await associateAccount();
    const account = { accountId: ACCOUNT };
    const { data } = await sdk.listAccountCarts({ client: backEnd, path: account });
    assert.deepEqual(data?.data.map(({ type, id }) => ({ type, id })), [{ type: "cart", id: path.cartId }]);
    assert.deepEqual((await sdk.listOwnCarts({ client: asAccount })).data?.data, data?.data);
  },

  async dissociateAccounts() {
    await associateAccount();
    const { response } = await sdk.dissociateAccounts({ client: asAccount, path, body: accounts });
    assert.equal(response.status, 204);
    assert.deepEqual((await sdk.listCartAccounts({ client: backEnd, path })).data?.data, []);
  },

  async clearCartAccounts() {
    await associateAccount();
    const { response } = await sdk.clearCartAccounts({ client: backEnd, path, body: nobody });
    assert.equal(response.status, 204);
    assert.deepEqual((await sdk.listCartAccounts({ client: backEnd, path })).data?.data, []);
  },

  async clearAccountCarts() {
    await associateAccount();
    const account = { accountId: ACCOUNT };
    const { response } = await sdk.clearAccountCarts({ client: asAccount, path: account, body: nobody });
    assert.equal(response.status, 204);
    assert.deepEqual((await sdk.listAccountCarts({ client: backEnd, path: account })).data?.data, []);
  },
};

async function associate(cartId: string) {
  const { error } = await sdk.associateCustomers({ client: backEnd, path: { cartId }, body });
  assert.equal(error, undefined);
}

async function associateAccount() {
  const { error } = await sdk.associateAccounts({ client: backEnd, path, body: accounts });
  assert.equal(error, undefined);
}

for (const [name, call] of Object.entries(calls)) {
  test(name, call);
}

test("an error has its code", async () => {
  const forged = storefront(API_URL, "x");
  const { data, error, response } = await sdk.associateCustomers({ client: forged, path, body });
  assert.equal(data, undefined);
  assert.equal(response.status, 401);
  const expected: ErrorCode = "invalid_access_token";
  assert.equal(error?.errors[0].code, expected);
});

test("what the description refuses does not compile", async () => {
  // @ts-expect-error A member of this type.
  const cart = await sdk.associateCustomers({ client: backEnd, path, body: { data: [{ type: "cart", id: "1" }] } });
  assert.equal(cart.error?.errors[0].code, "invalid_type");
  // @ts-expect-error A request without its body.
  const empty = await sdk.dissociateCustomers({ client: backEnd, path });
  assert.equal(empty.error?.errors[0].code, "body_required");
});
