"""Tests the API reference at PAGE_URL in a browser, as a person who opens it and presses Execute.

A screenshot is saved as target/reference.png.
"""

import os
import pathlib
import urllib.parse
import urllib.request

from selenium.webdriver.common.by import By

from browser import TIMEOUT, BrowserTestCase
from documented import client
from relay import API, Relay, send, unavailable_once

PAGE = os.environ["PAGE_URL"]
DYNAMODB = os.environ["DYNAMODB_URL"]
SCREENSHOT = "target/reference.png"


def blank_page(*_):
    return 200, {"content-type": "text/html"}, b""


class Reference(BrowserTestCase):
    def setUp(self):
        self.open(f"{PAGE}/reference")
        self.find(".opblock")

    def operation(self, name):
        """Opens an operation, and returns the selector of its box."""
        box = f".opblock[id$='-{name}']"
        self.click(f"{box} .opblock-summary-control")
        self.find(f"{box} .execute")
        return box

    def click(self, selector):
        """Clicks an element in the middle of the window, where the switch at the top does not cover it."""
        element = self.find(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", element)
        element.click()

    def call_as(self, caller):
        self.find(f"[name=caller][value={caller}]").click()

    def edges(self, selector):
        """Returns how far an element's top and bottom are from the top of the window."""
        script = "const { top, bottom } = document.querySelector(arguments[0]).getBoundingClientRect(); return [top, bottom]"
        return self.browser.execute_script(script, selector)

    def execute(self, box):
        """Presses Execute, and returns the status and the text of the answer."""
        if self.browser.find_elements(By.CSS_SELECTOR, f"{box} .btn-clear"):
            self.click(f"{box} .btn-clear")
            self.wait(lambda: not self.browser.find_elements(By.CSS_SELECTOR, f"{box} .live-responses-table"))
        self.click(f"{box} .execute")
        answer = self.find(f"{box} .live-responses-table .response")
        status = answer.find_element(By.CSS_SELECTOR, ".response-col_status").text
        return int(status.split()[0]), answer.text

    def call(self, path, method="GET", headers=None, server=API):
        """Calls the API from a script of the page, and returns the status and the headers that the script can read."""
        return self.browser.execute_async_script(
            """
            const [url, method, headers, done] = arguments;
            fetch(url, { method, headers })
              .then((answer) => done([answer.status, Object.fromEntries(answer.headers)]))
              .catch((error) => done(String(error)));
            """,
            server + path,
            method,
            headers or {},
        )

    def test_it_loads_without_errors_and_only_from_its_own_server(self):
        self.assertEqual(self.console(), [])
        urls = self.urls()
        self.assertEqual(sum(url.startswith(f"{PAGE}/openapi.yaml") for url in urls), 1, urls)
        for url in urls:
            self.assertTrue(url.startswith((f"{PAGE}/", "data:")), url)

    def test_a_call_is_200_then_204_and_403_for_another_customer(self):
        box = self.operation("associateCustomers")
        status, text = self.execute(box)
        customer = self.find("#customer").text
        self.assertEqual(status, 200, text)
        self.assertIn(customer, text)
        status, text = self.execute(box)
        self.assertEqual(status, 204, text)
        self.assertEqual(self.console(), [])
        self.find(f"{box} .live-responses-table").location_once_scrolled_into_view
        self.browser.save_screenshot(SCREENSHOT)

        body = self.find(f"{box} textarea.body-param__text")
        other = body.get_attribute("value").replace(customer, "25617d3e-14a6-434c-bfab-3fda87517aaf")
        self.browser.execute_script(
            """
            const [area, text] = arguments;
            // As if typed: the page listens for the event.
            Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, text);
            area.dispatchEvent(new Event("input", { bubbles: true }));
            """,
            body,
            other,
        )
        status, text = self.execute(box)
        self.assertEqual(status, 403, text)
        self.assertIn("other_customer", text)
        about = f"{PAGE}/errors.md#other_customer"
        self.assertIn(about, text)
        self.open(about)
        self.assertEqual(self.find(":target").text, "other_customer")
        in_order = [0, *self.edges("nav"), *self.edges(":target")]
        self.assertEqual(in_order, sorted(in_order), "the way back is out of sight, or covers the error")
        self.assertEqual(self.console(), [])
        self.find("nav a[href='/']").click()
        self.find("#next:enabled")

    def test_the_caller_can_be_changed(self):
        customer = self.find("#customer").text
        box = self.operation("listOwnCarts")
        for caller, expected in ("backEnd", 403), ("account", 200), ("customer", 200):
            self.call_as(caller)
            status, text = self.execute(box)
            self.assertEqual(status, expected, text)
        self.call_as("backEnd")
        box = self.operation("associateCustomers")
        status, text = self.execute(box)
        self.assertEqual(status, 200, text)
        self.assertIn(customer, text)
        self.assertNotIn("x-moltin-customer-token", self.find(f"{box} .curl-command").text)
        self.call_as("account")
        box = self.operation("associateAccounts")
        status, text = self.execute(box)
        self.assertEqual(status, 200, text)
        self.assertIn(self.find("#account").text, text)
        self.assertEqual(self.edges("fieldset")[0], 0)

    def test_the_description_can_be_fetched_by_other_tools(self):
        with urllib.request.urlopen(f"{PAGE}/openapi.yaml", timeout=TIMEOUT) as answer:
            text = answer.read().decode()
        self.assertIn(f"\nservers:\n  - url: {API}\n", text)

    def test_the_page_of_the_library_leads_to_the_reference(self):
        for path in ["/swagger-ui", "/swagger-ui/"]:
            with urllib.request.urlopen(PAGE + path, timeout=TIMEOUT) as answer:
                self.assertEqual(answer.url, f"{PAGE}/reference")

    def test_every_operation_can_be_tried(self):
        for name, expected in (
            ("associateCustomers", 200),
            ("listCartCustomers", 200),
            ("listCustomerCarts", 200),
            ("dissociateCustomers", 204),
        ):
            with self.subTest(name):
                status, text = self.execute(self.operation(name))
                self.assertEqual(status, expected, text)
        self.assertEqual(self.console(), [])

    def test_a_script_of_another_origin_reads_what_the_template_exposes(self):
        status, headers = self.call("/v2/carts", headers={"x-moltin-customer-token": "x"})
        self.assertEqual(status, 401)
        self.assertEqual(headers["www-authenticate"], "Bearer")
        self.assertNotIn("vary", headers)

    def test_a_header_or_a_method_that_the_template_does_not_allow_is_not_sent(self):
        self.assertIn("Failed to fetch", self.call("/v2/carts", headers={"x-other": "x"}))
        self.assertIn("Failed to fetch", self.call("/v2/carts", method="PUT"))

    def test_an_origin_that_is_not_allowed_cannot_read_answers(self):
        with Relay(blank_page) as server:
            self.open(server.url)
            self.assertIn("Failed to fetch", self.call("/v2/carts"))

    def test_no_page_can_call_the_database(self):
        headers = {"Authorization": "x", "X-Amz-Target": "DynamoDB_20120810.ListTables"}
        with Relay(blank_page) as server:
            for page in [f"{PAGE}/errors.md", server.url]:
                self.browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
                self.addCleanup(self.browser.execute_cdp_cmd, "Page.setBypassCSP", {"enabled": False})
                self.open(page)
                for sent in headers, {}:
                    self.assertIn("Failed to fetch", self.call("/", "POST", sent, DYNAMODB))

    def test_every_port_answers_only_under_the_names_of_this_machine(self):
        # Else a page of another site whose name leads here reads tokens and data.
        port = urllib.parse.urlsplit(API).port
        for url, path in (API, "/v2/carts"), (API, "/oauth/access_token"), (PAGE, "/tokens.json"), (PAGE, "/"), (DYNAMODB, "/"):
            for host, is_served in (
                ("localhost", True),
                (f"LOCALHOST:{port}", True),
                ("127.0.0.1", True),
                ("[::1]:9000", True),
                ("shop.example.com", False),
                (f"localhost.example.com:{port}", False),
                ("127.0.0.1.example.com", False),
                ("192.168.0.1", False),
                ("0.0.0.0", False),
                ("localhost@shop.example.com", False),
                ("", False),
            ):
                with self.subTest(url=url + path, host=host):
                    headers = {"Host": host, "Origin": f"http://{host}"}
                    status, answered, _ = send("GET", path, headers, host=url.removeprefix("http://"))
                    self.assertEqual(status != 403, is_served, status)
                    self.assertIsNone(answered["access-control-allow-origin"])

    def test_elastic_paths_sdk_works_on_a_page(self):
        sdk = pathlib.Path(os.environ["NODE_CLIENTS"], "node_modules/@elasticpath/js-sdk/dist/index.js")
        self.browser.execute_script(sdk.read_text())
        ended = self.browser.execute_async_script(
            """
            const [host, cart, customer, token, done] = arguments;
            const shop = index.gateway({ client_id: "storefront", host, protocol: "http" });
            shop.Cart(cart).AddCustomerAssociation(customer, token)
              .then((added) => shop.Cart().GetCartsList(token).then((carts) => done([added, carts.data[0].id])))
              .catch((error) => done(error.errors ?? String(error)));
            """,
            API.removeprefix("http://"),
            "cart-of-the-sdk",
            os.environ["CUSTOMER"],
            os.environ["CUSTOMER_TOKEN"],
        )
        self.assertEqual(ended[0], {"data": [{"type": "customer", "id": os.environ["CUSTOMER"]}]}, ended)
        self.assertEqual(ended[1], "cart-of-the-sdk")
        self.assertEqual(self.console(), [])

    def test_the_documented_client_obeys_retry_after(self):
        # The page's Content-Security-Policy allows only the API's URL.
        self.browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        self.addCleanup(self.browser.execute_cdp_cmd, "Page.setBypassCSP", {"enabled": False})
        self.open(PAGE)
        with unavailable_once() as url:
            is_new = self.browser.execute_async_script(
                client("js")
                + """
                const [api, access, customer, done] = [...arguments];
                associateCart(api, access, customer, "cart-of-a-browser", "CUSTOMER")
                  .then(done, (error) => done(String(error)));
                """.replace("CUSTOMER", os.environ["CUSTOMER"]),
                url,
                os.environ["ACCESS_TOKEN"],
                os.environ["CUSTOMER_TOKEN"],
            )
        self.assertIs(is_new, True)
