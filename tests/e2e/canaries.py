"""Made-up secrets that must not appear in anything Airflow writes, except one that a test plants on purpose."""

# They contain every character that JSON, a URL, an HTML page or a Python repr escapes.
TOKEN = "canary\"token<1>%2Fwith\\all&that+is=written'otherwise"
PASSWORD = "canary \"pässword\" <2> %2F with\\all & that + is = written 'otherwise'"
WRONG_TOKEN, WRONG_PASSWORD = TOKEN[::-1], PASSWORD[::-1]
HASH_KEY = "canary \"hash kéy\" <3> %2F mixes\\all & those + that = are 'unusual'"
PROXY_PASSWORD = "canary-of-a-proxy-0815-4711"
PLANTED = "canary-that-is-planted-on-purpose-4711-0815"
