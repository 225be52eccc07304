# Offerloop with everything it embeds. State lies in the volume /state; what is published is up to who runs it.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev openjdk-17-jre-headless procps tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 offerloop \
 && install -d -o offerloop -g offerloop /state /home/offerloop/app

WORKDIR /home/offerloop/app
# why: what `make setup` runs; before the code, so that a change of code does not build the environment anew
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY tools tools
RUN UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 tools/setup code && rm -rf .tools
COPY . .

USER offerloop
# why: every release notes the image whose code made it, so that one can go back to that code
ARG IMAGE=""
ENV PATH=/home/offerloop/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OFFERLOOP_IMAGE=$IMAGE \
    OFFERLOOP_STATE=/state
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "offerloop"]
CMD ["up"]
