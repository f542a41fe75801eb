"""Calls the API at API_URL with the client that openapi-python-client has generated, and reads the COLLECTION that Postman's
converter has made."""

import json
import os
import pathlib
import unittest

from carts import AuthenticatedClient
from carts.api.accounts_of_a_cart import associate_accounts, dissociate_accounts, list_cart_accounts
from carts.api.carts_of_a_customer import list_own_carts
from carts.api.customers_of_a_cart import (
    associate_customers,
    clear_cart_customers,
    dissociate_customers,
    list_cart_customers,
)
from carts.models import AccountLinkageRequest, CustomerLinkageRequest, EmptyLinkage, ErrorCode

CART = "generated-python"
CUSTOMER = os.environ["CUSTOMER"]
ACCOUNT = os.environ["ACCOUNT"]
CUSTOMERS = CustomerLinkageRequest.from_dict({"data": [{"type": "customer", "id": CUSTOMER}]})
ACCOUNTS = AccountLinkageRequest.from_dict({"data": [{"type": "account", "id": ACCOUNT}]})


class Generated(unittest.TestCase):
    def client(self, token):
        return self.enterContext(AuthenticatedClient(base_url=os.environ["API_URL"], token=token))

    def setUp(self):
        self.back_end = self.client(os.environ["BACK_END_TOKEN"])
        self.storefront = self.client(os.environ["ACCESS_TOKEN"])
        self.customer = {"x_moltin_customer_token": os.environ["CUSTOMER_TOKEN"]}

    def test_customers(self):
        dissociate_customers.sync_detailed(CART, client=self.back_end, body=CUSTOMERS)
        created, repeated = (
            associate_customers.sync_detailed(CART, client=self.storefront, body=CUSTOMERS, **self.customer)
            for _ in range(2)
        )
        self.assertEqual((created.status_code, created.parsed.to_dict()), (200, CUSTOMERS.to_dict()))
        self.assertEqual(repeated.status_code, 204)
        carts = list_own_carts.sync(client=self.storefront, pagelimit=1, **self.customer)
        self.assertEqual(([cart.id for cart in carts.data], carts.meta.page.limit), ([CART], 1))
        cleared = clear_cart_customers.sync_detailed(CART, client=self.back_end, body=EmptyLinkage(data=[]))
        self.assertEqual(cleared.status_code, 204)
        self.assertEqual(list_cart_customers.sync(CART, client=self.back_end).data, [])

    def test_accounts(self):
        dissociate_accounts.sync_detailed(CART, client=self.back_end, body=ACCOUNTS)
        account = {"ep_account_management_authentication_token": os.environ["ACCOUNT_TOKEN"]}
        created = associate_accounts.sync_detailed(CART, client=self.storefront, body=ACCOUNTS, **account)
        self.assertEqual((created.status_code, created.parsed.to_dict()), (200, ACCOUNTS.to_dict()))
        accounts = list_cart_accounts.sync(CART, client=self.storefront, **account)
        self.assertEqual([account.id for account in accounts.data], [ACCOUNT])

    def test_an_error_has_its_code(self):
        refused = associate_customers.sync(CART, client=self.client("x"), body=CUSTOMERS)
        self.assertEqual(refused.errors[0].code, ErrorCode.INVALID_ACCESS_TOKEN)


class Postman(unittest.TestCase):
    def test_a_request_has_the_headers_and_the_body_that_the_api_takes(self):
        def requests(items):
            for item in items:
                yield from requests(item["item"]) if "item" in item else [item["request"]]

        collection = json.loads(pathlib.Path(os.environ["COLLECTION"]).read_text())
        self.assertEqual(collection["auth"]["type"], "bearer")
        of_kind = {"customers": "x-moltin-customer-token", "accounts": "EP-Account-Management-Authentication-Token"}
        for request in requests(collection["item"]):
            kind = request["url"]["path"][-1]
            if kind not in of_kind or request["method"] == "PATCH":
                continue
            with self.subTest(kind, method=request["method"]):
                headers = [header["key"] for header in request["header"]]
                self.assertIn(of_kind[kind], headers)
                if request["method"] != "GET":
                    (member,) = json.loads(request["body"]["raw"])["data"]
                    self.assertEqual(member["type"], kind.removesuffix("s"))
