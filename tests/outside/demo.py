"""Tests the demo at PAGE_URL in a browser, with the keyboard only, as a newcomer who reads the story.

The screenshot of README.md is made here: it is saved as DEMO_SCREENSHOT, or as target/demo.png.
"""

import base64
import os
import pathlib
import subprocess

from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import TIMEOUT, BrowserTestCase

PAGE = os.environ["PAGE_URL"]
API = os.environ["API_URL"]
AXE = pathlib.Path(os.environ["AXE"])
SCREENSHOT = os.environ.get("DEMO_SCREENSHOT", "target/demo.png")

LIST = "GET /v2/carts 200"


class Demo(BrowserTestCase):
    def setUp(self):
        self.browser.set_window_size(1100, 830)
        self.color_scheme("light")
        self.open(PAGE)
        self.find("#next:enabled")

    def color_scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def keys(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()

    def tab_to(self, selector):
        """Moves the focus to an element with the Tab key, and asserts that the focus is visible there."""
        target = self.find(selector)
        for _ in range(100):
            if self.browser.switch_to.active_element == target:
                break
            self.keys(Keys.TAB)
        self.assertEqual(self.browser.switch_to.active_element, target, f"Tab does not reach {selector}")
        self.assertEqual(target.value_of_css_property("outline-style"), "solid", f"no focus is seen on {selector}")

    def press(self, selector, expected):
        """Presses a button with the keyboard, and waits until the page says the expected sentence."""
        self.tab_to(selector)
        self.keys(Keys.ENTER)
        self.said(expected)

    def press_on(self, device, action, expected):
        self.press(f"#{device} [data-action={action}]", expected)

    def said(self, expected):
        status = self.find("[role=status]")
        self.wait(lambda: expected in status.text, f"the page does not say {expected!r}")

    def requests(self, device):
        """Returns the requests under a device, oldest first, with the statuses of their answers."""
        lines = self.browser.find_elements(By.CSS_SELECTOR, f"#{device} .requests .line")
        requests = [" ".join(part.text for part in line.find_elements(By.CSS_SELECTOR, "code, strong")) for line in lines]
        return requests[::-1]

    def opened(self, device):
        """Returns what is shown of the requests under a device that are open."""
        return [text.text for text in self.browser.find_elements(By.CSS_SELECTOR, f"#{device} details[open] pre")]

    def size(self, width, height):
        """Makes the window a screen of this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.addCleanup(self.browser.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})

    def picture(self):
        """Saves a picture of the two devices alone, small enough to be read on a phone."""
        clip = self.browser.execute_script(
            """
            const style = document.createElement("style");
            style.id = "picture";
            style.textContent = `
              main { grid-template-columns: 3fr 4fr; width: 40rem; padding: 0.75rem }
              .screen { min-height: 0 }
              .story, .buttons, .requests, h3 { display: none }`;
            document.head.append(style);
            const { left, top, width, height } = document.querySelector("main").getBoundingClientRect();
            return { x: left + scrollX, y: top + scrollY, width, height, scale: 2 };
            """
        )
        asked = {"clip": clip, "captureBeyondViewport": True}
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", asked)
        self.browser.execute_script("document.querySelector('#picture').remove()")
        pathlib.Path(SCREENSHOT).write_bytes(base64.b64decode(taken["data"]))
        self.assertLess(os.path.getsize(SCREENSHOT), 200_000)

    def cart(self):
        """Returns the cart on the phone."""
        return self.find("#phone .carts small").text.split(",")[0]

    def shown(self, device):
        """Returns who uses a device and the carts on its screen."""
        carts = self.browser.find_elements(By.CSS_SELECTOR, f"#{device} .carts li")
        return self.find(f"#{device} .who").text.split()[0], [cart.text for cart in carts]

    def test_the_story(self):
        self.assertEqual(self.console(), [])
        self.assertEqual(self.shown("phone"), ("Guest", ["No cart"]))

        self.press("#next", "No request to this API yet")
        cart = self.cart()
        customers = f"/v2/carts/{cart}/relationships/customers"
        self.assertEqual(self.shown("phone"), ("Guest", [f"Scarf × 1\n{cart}, on this phone only"]))
        self.assertEqual(self.requests("phone"), [])

        self.press("#next", "200: the cart is now Ron's")
        phone = [f"POST {customers} 200", LIST]
        self.assertEqual(self.requests("phone"), phone)
        [opened] = self.opened("phone")
        self.assertTrue(opened.startswith(f"POST {customers}\n"), opened)
        self.assertEqual(self.shown("laptop"), ("Guest", ["No cart"]))

        self.press("#next", "200: the laptop has never seen this cart")
        self.assertEqual(self.requests("laptop"), [LIST])
        who, (laptop_cart,) = self.shown("laptop")
        self.assertEqual(who, "Ron")
        self.assertRegex(laptop_cart, rf"^Scarf × 1\n{cart}, Ron's since ")
        self.picture()

        self.press("#next", "204: it existed")
        phone += [f"POST {customers} 204"]
        self.assertEqual(self.requests("phone"), phone)
        self.assertIn("204 No Content", self.opened("phone")[0])
        self.assertEqual(self.shown("laptop"), ("Ron", [laptop_cart]))
        self.assertEqual(self.console(), [])

        self.press("#next", "403: Ron may not act for Hermione")
        phone += [f"POST {customers} 403"]
        self.assertEqual(self.requests("phone"), phone)
        self.assertIn('"code": "other_customer"', self.opened("phone")[0])
        self.assertRegex(self.find("#answer").text, '^403 Forbidden .*"code":"other_customer"')

        self.press("#next", "No request: the phone forgets")
        self.assertEqual(self.requests("phone"), phone)
        self.assertEqual(self.shown("phone"), ("Guest", [f"Scarf × 1\n{cart}, on this phone, and still Ron's"]))
        self.assertEqual(self.shown("laptop"), ("Ron", [laptop_cart]))

        self.press("#next", "204: the cart is no longer Ron's")
        self.assertEqual(self.requests("laptop")[-2:], [f"DELETE {customers} 204", LIST])
        self.assertEqual(self.shown("laptop"), ("Ron", ["No cart"]))
        self.assertEqual(self.shown("phone"), ("Guest", [f"Scarf × 1\n{cart}, on this phone only"]))

        self.press("#next", "200: Harry has never seen this cart, but it is Acme's")
        self.assertEqual(self.requests("phone")[-2:], [f"POST /v2/carts/{cart}/relationships/accounts 200", LIST])
        self.assertIn('"type": "account"', self.opened("phone")[0])
        self.assertIn(cart, self.opened("laptop")[0])
        who, (laptop_cart,) = self.shown("laptop")
        self.assertEqual(who, "Harry,")
        self.assertRegex(laptop_cart, rf"^Scarf × 1\n{cart}, Acme's since ")
        self.assertEqual(len(self.browser.find_elements(By.CSS_SELECTOR, "#steps .done")), 8)

        # It loads only from its own servers.
        urls = self.urls()
        self.assertIn(f"{API}/v2/carts", urls)
        for url in urls:
            self.assertTrue(url.startswith((f"{PAGE}/", f"{API}/", "data:")), url)

        self.keys(Keys.ENTER)
        self.wait(lambda: self.shown("laptop")[0] == "Guest")

    def test_the_devices_in_another_order(self):
        self.press_on("phone", "again", "First put a scarf in the cart")
        self.press_on("laptop", "remove", "The laptop shows no cart of Ron's")
        self.press_on("laptop", "signOut", "Nobody has signed in on the laptop")
        self.press_on("laptop", "signIn", "200: Ron has no carts yet")
        self.press_on("laptop", "signIn", "Ron has signed in on the laptop already")
        self.press_on("phone", "fill", "No request to this API yet")
        self.press_on("phone", "again", "403 customer_token_required")
        # The laptop is signed in, so it looks again after each change.
        self.press_on("phone", "signIn", "200: the cart is now Ron's")
        self.assertIn(self.cart(), self.shown("laptop")[1][0])
        self.press_on("laptop", "remove", "204: the cart is no longer Ron's")
        self.assertEqual(self.shown("phone")[1], [f"Scarf × 1\n{self.cart()}, on this phone only"])
        self.press_on("phone", "again", "200: the cart is now Ron's")
        self.assertIn(self.cart(), self.shown("laptop")[1][0])

    def test_a_copied_request_has_the_same_answer_in_a_terminal(self):
        self.browser.execute_cdp_cmd(
            "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        )
        self.press_on("phone", "fill", "No request")
        self.press_on("phone", "signIn", "200: the cart is now Ron's")
        for request, expected in (("POST, 200", "204"), ("GET, 200", "200")):
            with self.subTest(request):
                self.press_on("phone", "fill", "No request")
                self.press(f"#phone [aria-label='Copy as curl: {request}']", "Copied.")
                copied = self.browser.execute_async_script(
                    "const done = arguments[0]; navigator.clipboard.readText().then(done, (error) => done(String(error)))"
                )
                done = subprocess.run(["bash", "-c", copied], capture_output=True, text=True, timeout=TIMEOUT)
                self.assertEqual(done.stdout.split()[1:2], [expected], f"{copied}\n{done.stdout}{done.stderr}")

    def test_an_api_that_does_not_answer_is_said(self):
        self.press_on("phone", "fill", "No request")
        self.browser.execute_cdp_cmd("Network.enable", {})
        self.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": [f"{API}/*"]})
        self.addCleanup(self.browser.execute_cdp_cmd, "Network.setBlockedURLs", {"urls": []})
        self.press_on("phone", "signIn", "The API did not answer")

    def test_accessibility_in_light_and_dark(self):
        self.press_on("phone", "fill", "No request")
        self.press_on("phone", "signIn", "200")
        self.press_on("phone", "refused", "403")
        self.is_accessible()
        self.open(f"{PAGE}/errors.md")
        self.find("#other_customer")
        self.is_accessible()
        self.browser.save_screenshot("target/errors.png")

    def is_accessible(self):
        backgrounds = set()
        for scheme in ("light", "dark"):
            with self.subTest(scheme):
                self.color_scheme(scheme)
                self.browser.execute_script(AXE.read_text())
                violations = self.browser.execute_async_script(
                    """
                    const done = arguments[0];
                    axe.run().then(({ violations }) => done(violations), (error) => done(String(error)));
                    """
                )
                self.assertEqual(violations, [])
                backgrounds.add(self.find("body").value_of_css_property("background-color"))
        self.assertEqual(len(backgrounds), 2)

    def test_button_sentence_and_active_device_stay_in_sight(self):
        for width, height in (1280, 720), (390, 664):
            with self.subTest(width=width):
                self.size(width, height)
                self.open(PAGE)
                self.find("#next:enabled")
                for step in range(8):
                    before = self.find("#next").text
                    self.tab_to("#next")
                    self.keys(Keys.ENTER)
                    self.wait(lambda: self.find("#next").text != before)
                    self.find(".is-active")
                    hidden = self.browser.execute_script(
                        """
                        const controls = document.querySelector("#controls").getBoundingClientRect();
                        const hidden = [];
                        for (const selector of ["#next", "#status", "#answer", ".is-active h2", ".is-active .who", ".is-active .carts"]) {
                          const { top, bottom } = document.querySelector(selector).getBoundingClientRect();
                          const isControl = selector.startsWith("#");
                          if (top < (isControl ? 0 : controls.bottom - 1) || bottom > innerHeight) hidden.push([selector, top, bottom]);
                        }
                        return hidden;
                        """
                    )
                    self.assertEqual(hidden, [], f"after step {step + 1}")
                    self.browser.save_screenshot(f"target/demo-{width}-{step + 1}.png")

    def test_a_narrow_window_needs_no_sideways_scrolling(self):
        self.size(340, 700)
        self.press_on("phone", "fill", "No request")
        self.press_on("phone", "signIn", "200")
        self.needs_at_most(340)
        self.open(f"{PAGE}/errors.md")
        self.needs_at_most(340)

    def needs_at_most(self, width):
        needed = self.browser.execute_script("return document.documentElement.scrollWidth")
        self.assertLessEqual(needed, width)

    def test_the_reference_is_one_click_away(self):
        self.tab_to("nav a[href=reference]")
        self.keys(Keys.ENTER)
        self.find(".swagger-ui .opblock")
        self.find("a[href='/']").click()
        self.find("#next:enabled")
