"""The page of a run in a browser."""

SELECTED = "[role=option][aria-selected=true]"


def opened(browser, path, **options):
    page = browser.new_page(**{"viewport": {"width": 1440, "height": 900}, **options})
    page.problems, page.asked = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(SELECTED)
    return page
