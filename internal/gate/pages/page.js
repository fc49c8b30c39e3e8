// The only script of ours. Everything works without, but for the form that proves
// a phone.

// A page that nobody sees: it hands on the fragment of the URL that was asked for.
(function () {
  'use strict';
  var to = document.documentElement.getAttribute('data-to');
  if (to) location.replace(to + encodeURIComponent(location.hash));
})();

// The server never sees a fragment; the redirects that led here kept it. Links
// that lead back take it along, so that a hash router finds its route again.
(function () {
  'use strict';
  if (location.hash.length < 2 || location.hash === '#wechat_redirect') return;
  var param = /([?&]return_to=)([^&#]*)/, found = param.exec(location.search), links = document.querySelectorAll('nav a'), back;
  try { back = decodeURIComponent(found[2].replace(/\+/g, ' ')); } catch (e) { return; } // none, or none of ours
  if (back.indexOf('#') >= 0) return; // it has one already
  for (var i = 0; i < links.length; i++) {
    var to = links[i].getAttribute('href');
    if (param.test(to)) to = to.replace(param, '$1$2' + encodeURIComponent(location.hash));
    else if (to === back) to += location.hash;
    links[i].setAttribute('href', to);
  }
})();

// The form that proves a phone.
(function () {
  'use strict';
  var form = document.getElementById('prove');
  if (!form) return;
  var phone = document.getElementById('phone'), code = document.getElementById('code');
  var send = document.getElementById('send'), submit = document.getElementById('submit'), said = document.getElementById('said');
  var text = form.dataset, label = send.textContent, timer;

  function say(words) {
    said.textContent = words || '';
    said.hidden = !words;
  }

  function wait(seconds) {
    clearInterval(timer);
    var until = Date.now() + seconds * 1000;
    function tick() {
      var left = Math.ceil((until - Date.now()) / 1000);
      send.disabled = left > 0;
      send.textContent = left > 0 ? text.again + ' ' + Math.floor(left / 60) + ':' + ('0' + left % 60).slice(-2) : label;
      if (left <= 0) clearInterval(timer);
    }
    timer = setInterval(tick, 500);
    tick();
  }

  // number is that of a request which failed for no fault of the visitor's.
  function number(status, answer) {
    return status === 422 || !answer.instance ? '' : ' (' + text.number + ' ' + answer.instance.slice(9, 17) + ')';
  }

  // post tells what went wrong and leaves what went well to done.
  function post(url, fields, button, done) {
    fields.purpose = text.purpose;
    if (phone) fields.phone = phone.value;
    button.disabled = true;
    say('');
    var request = new XMLHttpRequest();
    request.open('POST', url);
    request.setRequestHeader('Content-Type', 'application/json');
    request.setRequestHeader('Accept', 'application/json');
    request.onload = function () {
      button.disabled = false;
      var answer = {};
      try { answer = JSON.parse(request.responseText); } catch (e) { /* not ours */ }
      if (request.status >= 200 && request.status < 300) return done(answer);
      if (request.status === 409) return location.replace(text.refused + encodeURIComponent(answer.code));
      say((request.status === 401 ? text.lost : answer.detail || text.failed) + number(request.status, answer));
      if (request.status === 422) (answer.code === 'phone_invalid' && phone || code).focus();
      if (button === send && (request.status === 429 || request.status === 503)) wait(Number(request.getResponseHeader('Retry-After')) || 60);
    };
    request.onerror = request.ontimeout = function () {
      button.disabled = false;
      say(text.failed);
    };
    request.timeout = 20000;
    request.send(JSON.stringify(fields));
  }

  send.addEventListener('click', function () {
    if (phone && !phone.value.trim()) return phone.focus();
    post(text.send, {}, send, function (answer) {
      say(text.sent);
      code.value = '';
      code.focus();
      wait(answer.retry_after);
    });
  });

  form.addEventListener('submit', function (event) {
    event.preventDefault();
    if (submit.disabled) return;
    if (phone && !phone.value.trim()) return phone.focus();
    if (!code.value.trim()) return code.focus();
    post(text.prove, { code: code.value }, submit, function () {
      submit.disabled = true;
      location.replace(text.next.indexOf('#') < 0 ? text.next + location.hash : text.next);
    });
  });
})();
